"""A world's log as files: the same rows however they are spread, and nothing else is replaced."""

import json

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from raysys.errors import ConfigError, DatasetError
from raysys.logs.simulator import Simulator
from raysys.logs.simulator.writing import check_log_destination, write_log
from tests.unit.logs.simulator.worlds import small


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr("raysys.logs.simulator.people._BLOCK_PICKS", 1000)  # 33 users each


def rows_of(log):
    files = [log.files.interactions]
    if files[0].is_dir():
        files = sorted(files[0].iterdir())
    lines = [path.read_bytes().splitlines() for path in files]
    assert {each[0] for each in lines} == {b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE"}
    return [line for each in lines for line in each[1:]]


def backwards(calls):
    """Run calls in the opposite order, as tasks of a cluster might end."""
    for call in reversed(calls):
        yield from call.run()


def test_the_same_rows_are_written_into_any_number_of_files_in_any_order(tmp_path):
    one = write_log(small(), tmp_path / "one", num_files=1)
    three = write_log(small(), tmp_path / "three", num_files=3, run=backwards)
    assert one.files.interactions == tmp_path / "one" / "interactions.csv"
    parts = sorted(path.name for path in three.files.interactions.iterdir())
    assert parts == ["part-00000.csv", "part-00001.csv", "part-00002.csv"]
    assert rows_of(three) == rows_of(one)
    assert one.num_rows == three.num_rows == len(rows_of(one))
    assert (one.num_files, three.num_files) == (1, 3)
    for name in ("items.csv", "users.csv", "world.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_by_default_a_file_holds_a_few_blocks_and_more_files_than_blocks_are_not_made(tmp_path):
    assert small().people.num_blocks == 7
    assert write_log(small(), tmp_path / "default").num_files == 2
    assert write_log(small(), tmp_path / "many", num_files=100).num_files == 7


def test_parquet_holds_what_csv_holds(tmp_path):
    as_csv = write_log(small(), tmp_path / "csv", num_files=1)
    as_parquet = write_log(small(), tmp_path / "parquet", num_files=1, file_format="parquet")
    for kind in ("interactions", "items", "users"):
        read = pyarrow.csv.read_csv(getattr(as_csv.files, kind))
        table = pq.read_table(getattr(as_parquet.files, kind))
        assert table.cast(read.schema) == read


def test_progress_tells_rows_and_a_guess_of_all_of_them(tmp_path):
    told = []
    written = write_log(
        small(),
        tmp_path / "log",
        on_progress=lambda done, total=None, note="": told.append((done, total)),
    )
    assert len(told) == 7
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (written.num_rows, written.num_rows)
    assert told[0][1] == pytest.approx(written.num_rows, rel=0.3)


def test_the_world_of_a_written_log_can_be_opened_again(tmp_path):
    world = Simulator("new-like-old", seed=7, num_users=50)
    world.write(tmp_path / "log")
    again = Simulator.of_log(tmp_path / "log")
    assert (again.world, again.seed) == (world.world, 7)
    with pytest.raises(DatasetError, match="is no simulated log"):
        Simulator.of_log(tmp_path)
    (tmp_path / "log" / "world.json").write_text(json.dumps({"world": {"size": 3}, "seed": 0}))
    with pytest.raises(ConfigError, match="num_users"):
        Simulator.of_log(tmp_path / "log")


def test_a_log_replaces_a_log_and_nothing_else(tmp_path):
    write_log(small(), tmp_path / "log", num_files=3)
    write_log(small(seed=4), tmp_path / "log", num_files=1)
    names = {path.name for path in (tmp_path / "log").iterdir()}
    assert names == {"interactions.csv", "items.csv", "users.csv", "world.json"}
    (tmp_path / "empty").mkdir()
    check_log_destination(tmp_path / "empty")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").touch()
    for path in (tmp_path / "thesis", tmp_path / "thesis" / "chapter-1.tex"):
        with pytest.raises(DatasetError, match="is no simulated log"):
            write_log(small(), path)
    assert {path.name for path in (tmp_path / "thesis").iterdir()} == {"chapter-1.tex"}


def test_a_log_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    old = write_log(small(), tmp_path / "log", num_files=1)
    before = old.files.interactions.read_bytes()

    def breaks(calls):
        yield from calls[0].run()
        raise DatasetError("the disk is full")

    with pytest.raises(DatasetError, match="disk is full"):
        write_log(small(seed=4), tmp_path / "log", num_files=3, run=breaks)
    assert old.files.interactions.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("num_rows", [3_000, 30_000])
def test_as_many_users_as_make_so_many_rows_are_made(num_rows):
    simulator = Simulator.of_about(num_rows, seed=3, num_items=600, mean_history=30)
    found = sum(table.num_rows for table in simulator.interactions())
    assert found == pytest.approx(num_rows, rel=0.25)  # 33 users are asked how much they do
    with pytest.raises(ConfigError, match="at least 1 row"):
        Simulator.of_about(0)


def test_fewer_files_than_one_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least 1, but got 0"):
        write_log(small(), tmp_path / "log", num_files=0)
