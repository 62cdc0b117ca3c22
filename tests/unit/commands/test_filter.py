"""`raysys filter`, from an expression to a row that gateways read."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from raysys.cli import main
from raysys.release import ITEM_TABLE, USER_TABLE, Release, publishing
from raysys.state.filters import MAX_FILTERS, NamedFilter
from raysys.state.store import StateStore
from tests.unit.releases import published

CHEAP = "INCLUDE ItemID WHERE Items.PRICE <= $MAX"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object], str]:
    """Run a command; return its exit code, its JSON line and what people read."""
    code = main(["filter", *arguments, "--json"])
    read = capsys.readouterr()
    return code, json.loads(read.out.splitlines()[-1]), read.err


def test_a_filter_is_made_listed_and_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    code, made, _ = told(capsys, "create", "cheap", CHEAP, "--database", url)
    arn = "arn:aws:personalize:us-east-1:000000000000:filter/cheap"
    assert (code, made["arn"], made["expression"]) == (0, arn, CHEAP)
    assert main(["filter", "create", "cheap", CHEAP, "--database", url]) == 1
    assert "a filter 'cheap' already" in capsys.readouterr().err.replace("\n", " ")
    assert (
        main(["filter", "create", "cheap", CHEAP, "--database", url, "--dataset-group", "b"]) == 0
    )
    capsys.readouterr()
    _, listed, _ = told(capsys, "list", "--database", url)
    assert [each["name"] for each in listed["filters"]] == ["cheap"]  # type: ignore[attr-defined]
    store = StateStore(url, "default")
    assert store.filters.expressions() == {"cheap": CHEAP}
    assert told(capsys, "delete", "cheap", "--database", url)[0] == 0
    assert store.filters.expressions() == {}
    store.close()
    assert main(["filter", "delete", "cheap", "--database", url]) == 1
    assert told(capsys, "list", "--database", url, "--dataset-group", "b")[1]["filters"] != []


def test_a_dataset_group_has_so_many_filters_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    store = StateStore(url, "default")
    for number in range(MAX_FILTERS):
        store.filters.create(NamedFilter(f"f{number}", f"arn:{number}", CHEAP, number))
    store.close()
    assert main(["filter", "create", "one-more", CHEAP, "--database", url]) == 1
    assert "30 filters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expression", "message"),
    [
        ("cheap", "INCLUDE ItemID WHERE Items.PRICE ~ 3", "at character 34"),
        ("-cheap", CHEAP, "63 letters"),
        ("c" * 64, CHEAP, "63 letters"),
        ("a/b", CHEAP, "63 letters"),
    ],
)
def test_what_is_no_filter_is_refused_before_there_is_a_database(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    expression: str,
    message: str,
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    assert main(["filter", "create", "--database", url, "--", name, expression]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "state.db").exists()


def release(directory: Path, *, with_users: bool) -> Release:
    tables = {ITEM_TABLE: pa.table({"item_id": ["a"], "price": [1.0]})}
    if with_users:
        tables[USER_TABLE] = pa.table({"user_id": ["u"], "age": [30]})
    with publishing(directory) as draft:
        for name, table in tables.items():
            with pa.ipc.new_file(str(draft.path / name), table.schema) as sink:
                sink.write_table(table)
        return published(draft, watermark=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_release_may_be_asked_for_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    adults = f"{CHEAP} IF CurrentUser.AGE > 18 | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE = $T"

    def create(name: str, expression: str, *, with_users: bool) -> tuple[int, str]:
        place = release(tmp_path / "releases", with_users=with_users).path
        code = main(
            ["filter", "create", name, expression, "--database", url, "--release", str(place)]
        )
        return code, " ".join(capsys.readouterr().err.split())

    assert create("cheap", CHEAP, with_users=False) == (0, "")
    assert create("adults", adults, with_users=True) == (0, "")
    code, message = create("none", adults, with_users=False)
    assert (code, "without a table of users" in message) == (1, True)
    code, message = create("typo", CHEAP.replace("PRICE", "PRIZE"), with_users=True)
    assert (code, "reads PRIZE" in message) == (1, True)
    code, message = create("typo", f"{CHEAP} IF CurrentUser.AG > 18", with_users=True)
    assert (code, "reads AG" in message) == (1, True)
