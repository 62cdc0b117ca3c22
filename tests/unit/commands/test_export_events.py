"""`raysys export-events`, as an operator types it."""

import json
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.state.items import Item
from raysys.state.store import StateStore
from raysys.state.users import User
from tests.unit.state.builders import event, slate, sqlite_url


def result_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = main(["export-events", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_json_line_has_the_counts(tmp_path: Path, capsys) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_slates([slate("RID-1")])
    store.put_events([event("a", 1, recommendation_id="RID-1"), event(None, 2)])
    store.close()
    target = tmp_path / "export"
    arguments = ["--database", sqlite_url(tmp_path), "--dataset-group", "films"]
    code, line = result_of([*arguments, "--to", str(target)], capsys)
    assert code == 0
    assert line.pop("seconds") >= 0
    assert line == {
        "ok": True,
        "directory": str(target),
        "dataset_group": "films",
        "last_event_num": 2,
        "interactions": 1,
        "events_without_item": 1,
        "slates": 1,
        "impressions": 2,
        "explored": 1,
        "clicked": 1,
        "items": 0,
        "users": 0,
    }
    assert {path.name for path in target.iterdir()} == {
        "interactions.parquet",
        "impressions.parquet",
    }


def test_what_was_put_is_written_even_without_any_event(tmp_path: Path, capsys) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_items([Item("a", '{"releaseYear": 1999}', 5_000_000), Item("b")])
    store.put_users([User("ann", '{"AGE": 30}'), User("bob")])
    store.hide_items(["c"])
    store.close()
    target = tmp_path / "export"
    arguments = ["--database", sqlite_url(tmp_path), "--dataset-group", "films"]
    code, line = result_of([*arguments, "--to", str(target)], capsys)
    assert (code, line["items"], line["interactions"]) == (0, 2, 0)
    rows = [json.loads(row) for row in (target / "items.jsonl").read_text().splitlines()]
    assert rows == [{"item_id": "a", "release_year": 1999}, {"item_id": "b"}]
    assert line["users"] == 2
    rows = [json.loads(row) for row in (target / "users.jsonl").read_text().splitlines()]
    assert rows == [{"user_id": "ann", "age": 30}, {"user_id": "bob"}]


def test_users_alone_are_something_to_be_written(tmp_path: Path, capsys) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_users([User("ann")])
    store.close()
    arguments = ["--database", sqlite_url(tmp_path), "--dataset-group", "films"]
    code, line = result_of([*arguments, "--to", str(tmp_path / "export")], capsys)
    assert (code, line["users"], line["items"]) == (0, 1, 0)
    assert not (tmp_path / "export" / "items.jsonl").exists()


def test_a_database_that_does_not_exist_is_not_made(tmp_path: Path, capsys) -> None:
    arguments = ["--database", sqlite_url(tmp_path), "--to", str(tmp_path / "export")]
    code, line = result_of(arguments, capsys)
    assert (code, line["error"]) == (1, "StateError")
    assert "does not exist" in line["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_argument_is_refused_before_the_database_is_opened(tmp_path: Path, capsys) -> None:
    database = ["--database", sqlite_url(tmp_path)]
    (tmp_path / "mine").touch()
    code, line = result_of([*database, "--to", str(tmp_path)], capsys)
    assert (code, line["error"]) == (1, "DatasetError")
