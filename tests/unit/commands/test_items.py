"""`raysys items`: what it writes is what servers follow."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from raysys.cli import main
from raysys.commands.console import Console
from raysys.commands.train import show_index
from raysys.config import GruConfig, PipelineConfig
from raysys.state.items import Item
from raysys.state.store import StateStore
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import write_dataset

ROWS = [
    (user, item, 1_000_000 * (place + 1))
    for user in ("anna", "bert")
    for place, item in enumerate("abcdefgh")
]
TABLE = pa.table(
    {"item_id": ["a", "cold", "colder"], "price": [1, 2, 3], "creation_timestamp": [1, 86_400, 5]}
)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object], str]:
    """Run a command; return its exit code, its JSON line and what people read."""
    code = main(["items", *arguments, "--json"])
    read = capsys.readouterr()
    return code, json.loads(read.out.splitlines()[-1]), read.err


def test_items_are_hidden_listed_and_shown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    StateStore(url, "default").close()
    code, hidden, said = told(capsys, "hide", "b", "a", "b", "--database", url)
    assert (code, hidden["item_ids"], hidden["delta_version"]) == (0, ["a", "b"], 1)
    assert "2 items are kept from everybody" in said
    _, shown, said = told(capsys, "show", "b", "--database", url)
    assert shown["item_ids"] == ["b"]
    assert "1 item is shown again" in said
    assert told(capsys, "list", "--database", url)[1]["hidden"] == ["a"]
    elsewhere = ("--database", url, "--dataset-group", "other")
    code, nothing, said = told(capsys, "list", *elsewhere)
    assert (code, nothing["hidden"]) == (0, [])
    assert "No item is hidden" in said


def test_a_database_that_nobody_serves_from_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    assert told(capsys, "hide", "a", "--database", url)[0] == 1
    assert not (tmp_path / "state.db").exists()


def test_items_of_the_item_table_alone_are_put_once_and_what_clients_said_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    dataset = str(write_dataset(tmp_path / "dataset", [ROWS], items=TABLE))
    store = StateStore(url, "default")
    store.put_items([Item("colder", '{"price": 9}')])
    code, put, said = told(capsys, "put", dataset, "--database", url)
    assert (code, put["items_put"]) == (0, 1)
    assert "1 item with which nobody interacted was put" in said
    stored = {item.item_id: item for item in store.changed_items(0).items}
    assert set(stored) == {"cold", "colder"}
    assert stored["cold"].known == {"price": 2, "creation_timestamp": 86_400}
    assert stored["cold"].created_at_us == 86_400_000_000
    assert stored["colder"].known == {"price": 9}
    assert told(capsys, "put", dataset, "--database", url)[1]["items_put"] == 0
    _, put, said = told(capsys, "put", dataset, "--database", url, "--replace")
    assert put["items_put"] == 2
    assert "2 items with which nobody interacted were put" in said
    known = {item.item_id: item.known.get("price") for item in store.changed_items(0).items}
    assert known == {"cold": 2, "colder": 3}
    elsewhere = ("--database", url, "--dataset-group", "books")
    assert told(capsys, "put", dataset, *elsewhere)[0] == 1


def test_a_release_says_how_many_items_of_the_item_table_it_has_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PipelineConfig(model=GruConfig(hidden_dimension=8))
    for number, table in enumerate((TABLE, TABLE.slice(0, 1))):
        dataset = write_dataset(tmp_path / f"dataset-{number}", [ROWS], items=table)
        release = release_untrained(dataset, tmp_path / f"releases-{number}", config)
        num_cold = len(table) - 1
        assert release.manifest.num_items == 8
        assert release.manifest.lineage["items_without_interactions"] == num_cold
        capsys.readouterr()
        show_index(release, Console())
        shown = " ".join(capsys.readouterr().out.split())
        assert ("2 items of the item table, with which nobody" in shown) == (num_cold == 2)
