"""`raysys forget` reads exactly whom it is given, and looks for them in releases."""

import contextlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.cli import main
from raysys.commands import forget
from raysys.commands.forget import read_user_ids, releases_with
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, SourceError
from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.logs.importing import import_log
from raysys.release import HISTORIES, USER_VOCABULARY, publishing
from raysys.state.store import StateStore
from tests.unit.logs.tools import write
from tests.unit.releases import published
from tests.unit.state.builders import event, sqlite_url, visit


def publish(releases: Path, vocabulary: list[str], histories: list[str]) -> str:
    with publishing(releases) as draft:
        (draft.path / "vocabulary").mkdir()
        Vocabulary.from_ids(vocabulary).save(draft.path / USER_VOCABULARY)
        lists = [[1]] * len(histories)
        Histories.from_lists(histories, lists, lists).save(draft.path / HISTORIES)
        return str(published(draft).path)


def test_ids_are_read_one_a_line_as_they_stand(tmp_path: Path) -> None:
    text = write(tmp_path / "users.txt", " ann \r\nbob\n\nbob\nO'Hara, x\n")
    assert read_user_ids(text) == [" ann ", "bob", "O'Hara, x"]


def test_ids_are_read_from_tables(tmp_path: Path) -> None:
    table = write(tmp_path / "users.csv", "USER_ID,AGE\nbob,3\nann,2\nbob,3\n")
    assert read_user_ids(table) == ["bob", "ann"]
    pq.write_table(pa.table({"USER_ID": [7, 12]}), tmp_path / "users.parquet")
    assert read_user_ids(tmp_path / "users.parquet") == ["7", "12"]


@pytest.mark.parametrize("row", ["", "  ", ",,,"])
def test_a_row_that_names_nobody_is_refused_before_anybody_is_forgotten(tmp_path, row) -> None:
    users = write(tmp_path / "users.csv", f"USER_ID,AGE\nann,2\n{row},3\n")
    with pytest.raises(SourceError, match="nobody was"):
        read_user_ids(users)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read as lines of text"):
        read_user_ids(write(tmp_path / "users.txt", b"ann\n\xff\n"))


def test_a_release_holds_them_by_its_vocabulary_or_its_histories_or_when_it_is_unreadable(
    tmp_path: Path,
) -> None:
    numbered = publish(tmp_path / "a", ["ann"], [])
    remembered = publish(tmp_path / "a", ["bob"], ["ann"])
    without = publish(tmp_path / "a", ["bob"], ["bob"])
    damaged = publish(tmp_path / "b", ["bob"], ["bob"])
    (Path(damaged) / USER_VOCABULARY).write_bytes(b"")
    assert releases_with(["ann", "nobody"], [tmp_path / "a", Path(damaged)]) == {
        numbered: True,
        remembered: True,
        without: False,
        damaged: True,
    }


def test_the_command_ends_with_the_receipt(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(forget, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(forget, "run_calls", run_here)
    log = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\nann,i,1\nbob,i,2\n")
    import_log([log], tmp_path / "data", num_shards=2, run=run_here)
    held = publish(tmp_path / "releases", ["ann"], ["ann"])
    users = write(tmp_path / "users.txt", "ann\n")
    arguments = ["--users", str(users), "--releases", str(tmp_path / "releases"), "--json"]
    assert main(["forget", str(tmp_path / "data"), *arguments]) == 0
    captured = capsys.readouterr()
    line = json.loads(captured.out)
    assert line["rows"] == {"interactions": 1, "quarantine": 0, "users": 0}
    assert line["releases_with_them"] == [held]
    assert (line["num_users"], line["num_users_found"]) == (1, 1)
    receipt = json.loads(Path(line["receipt"]).read_text())
    assert receipt["releases_with_them"] == [held]
    assert "still holds some of them" in captured.err
    assert "ann" not in captured.out.replace("data", "")


def test_a_directory_of_releases_that_is_not_there_is_refused_before_anybody_is_forgotten(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="missing is no directory, .*Nobody was forgotten"):
        releases_with(["ann"], [tmp_path / "empty", tmp_path / "missing"])
    assert releases_with(["ann"], [tmp_path / "empty"]) == {}


def test_a_dataset_and_the_database_that_is_served_with_are_forgotten_in_one_command(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(forget, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(forget, "run_calls", run_here)
    log = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\nann,i,1\nbob,i,2\nsession,i,3\n")
    import_log([log], tmp_path / "data", dataset_group="films", num_shards=2, run=run_here)
    users = write(tmp_path / "users.txt", "ann\n")
    url = sqlite_url(tmp_path)
    store = StateStore(url, "films")
    # What the dataset has of the session is from before it was known whose it is.
    store.put_events([visit("i", 3), event("i", 4), event("i", 3, user_id="bob")])
    arguments = [str(tmp_path / "data"), "--database", url, "--users", str(users), "--json"]
    assert main(["forget", *arguments]) == 0
    line = json.loads(capsys.readouterr().out)
    removed = {"events": 2, "user_states": 2, "slates": 0, "sessions": 1}
    assert line["database_rows"] == removed
    assert json.loads(Path(line["receipt"]).read_text())["database_rows"] == removed
    assert store.user_states(["ann", "bob"]).keys() == {"bob"}
    # What is left of the database joins the dataset, and nobody comes back.
    dataset = import_events(store, tmp_path / "data", run=run_here)
    assert dataset is not None
    assert (dataset.rows_accepted, dataset.num_users) == (2, 1)
    store.close()


def test_the_database_alone_is_forgotten_in_by_its_dataset_group(tmp_path: Path, capsys) -> None:
    users = write(tmp_path / "users.txt", "ann\n")
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_events([event("i", 3)])
    arguments = ["forget", "--database", sqlite_url(tmp_path), "--users", str(users), "--json"]
    assert main(arguments) == 0  # of the group "default" there is nothing
    assert main([*arguments, "--dataset-group", "films"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["database_rows"]["events"] for line in lines] == [0, 1]
    assert store.user_states(["ann"]) == {}
    store.close()


def test_with_neither_a_dataset_nor_a_database_nobody_is_forgotten(tmp_path: Path, capsys) -> None:
    users = write(tmp_path / "users.txt", "ann\n")
    assert main(["forget", "--users", str(users)]) == 1
    assert "nobody was forgotten" in capsys.readouterr().err
