"""`raysys import` hands on what it is asked for; `--movielens-100k` needs a place to write only."""

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

import pytest

from raysys.cli import main
from raysys.commands import import_log, origins
from raysys.errors import DatasetError
from raysys.logs import importing
from raysys.logs.call import run_here
from raysys.logs.manifest import ImportMode
from raysys.logs.movielens import LogFiles
from raysys.state.store import StateStore
from tests.unit.state.builders import event, sqlite_url


def test_movielens_is_fetched_into_the_cache_and_imported_with_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(cache: Path) -> LogFiles:
        return LogFiles("MovieLens-100K", cache / "inter", cache / "item", cache / "user")

    def remember(interactions: list[Path], destination: Path, _: Any, **more: Any) -> Any:
        asked.update(more, interactions=interactions, destination=destination)
        return dict.fromkeys(
            ("rows_accepted", "rows_quarantined", "rows_duplicate", "users", "items"), 1
        )

    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(origins, "fetch_movielens_100k", fetch)
    monkeypatch.setattr(import_log, "import_and_report", remember)
    cache, to = tmp_path / "cache", tmp_path / "dataset"
    assert main(["import", "--movielens-100k", "--cache", str(cache), "--to", str(to)]) == 0
    assert asked == {
        "interactions": [cache / "inter"],
        "items": cache / "item",
        "users": cache / "user",
        "destination": to,
        "layouts": [],
        "mode": ImportMode.FULL,
        "num_shards": None,
        "dataset_group": "default",
    }


@pytest.mark.parametrize(("told", "mode"), [("full", "FULL"), ("incremental", "INCREMENTAL")])
def test_the_mode_is_handed_on_and_no_other_is_known(
    told: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ImportMode] = []

    def remember(*_: Any, mode: ImportMode, **__: Any) -> Any:
        asked.append(mode)
        raise DatasetError("enough")

    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(import_log, "import_and_report", remember)
    assert main(["import", "--interactions", "log.csv", "--to", "data", "--mode", told]) == 1
    assert asked == [mode]
    with pytest.raises(SystemExit):
        main(["import", "--interactions", "log.csv", "--to", "data", "--mode", "some"])


def test_every_row_is_told_of_with_what_is_wrong_and_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(import_log.job_page, "add", lambda _: None)
    here = functools.partial(importing.import_log, run=run_here)
    monkeypatch.setattr(importing, "import_log", here)
    log, to = tmp_path / "log.csv", tmp_path / "[bold]data[/bold]"
    log.write_text("USER_ID,ITEM_ID,TIMESTAMP\na,x,1\na,x,1\na,y,noon\nb,y,2\n")
    (tmp_path / "items.csv").write_text("ITEM_ID,GENRES\nx,Drama\ny,War\nz,War\n")
    words = ["import", "--interactions", str(log), "--items", str(tmp_path / "items.csv")]
    assert main([*words, "--to", str(to), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result["table_rows"] == {"items": 3}
    lines = captured.err.splitlines()
    assert ": 2 accepted, 1 quarantined, 1 duplicates" in lines[-5]
    assert lines[-4].startswith("    1 bad_timestamp: The time is not a number of seconds")
    found = lines[-3].removeprefix("  what was quarantined, with file, row and reason: ")
    (quarantine,) = to.glob("import-*/quarantine/*.parquet")
    assert found == f"{quarantine.parent}/*.parquet"
    assert lines[-2:] == [f"  2 rows of 2 users, 2 items in {to}", "  3 rows in the table of items"]
    new = str(tmp_path / "new")
    for note in (["  note: there was no dataset to add to; this one is new"], []):
        assert main([*words, "--to", new, "--mode", "incremental"]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [line for line in shown if "no dataset" in line] == note


def test_events_of_a_database_are_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(import_log, "run_calls", run_here)
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_events([event("a", 1)])
    store.close()
    words = ["import", "--events", sqlite_url(tmp_path), "--to", str(tmp_path / "data"), "--json"]
    words += ["--dataset-group", "films"]

    def lines() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    assert main([*words, "--shards", "1"]) == 0
    line = lines()
    assert (line["rows_accepted"], line["mode"], line["changed"]) == (1, "incremental", True)
    assert main(words) == 0
    assert lines() == {"ok": True, "dataset": str(tmp_path / "data"), "changed": False}
    for more in (["--items", "items.csv"], ["--mode", "full"], ["--column", "ITEM_ID=sku"]):
        assert main([*words, *more]) == 1
        assert f"{' '.join(more[: 1 + (more[0] == '--mode')])} says" in lines()["message"]
