"""Whoever dies while publishing, at whichever step, leaves the old dataset or the new one.

A child process is ended before its first, second, third ... change of a file or directory, without
a chance to clean up; what it leaves is opened, verified, and written to again.
"""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raysys.dataset.dataset import open_dataset
from raysys.errors import DatasetError
from raysys.logs.call import run_here
from raysys.logs.forgetting import forget_users
from raysys.logs.importing import import_log
from raysys.logs.manifest import ImportMode
from raysys.logs.publish import publish_import
from tests.unit.logs.tools import write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_ID\n"
# Not fsync, which changes nothing that a later process could see.
_CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir")
_KILLED = 9


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old.csv", HEADER + "".join(f"u{n},i{n},{n},e{n}\n" for n in range(9)))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    body = "".join(f"u{n},j{n},{n},f{n}\n" for n in range(5))
    return write(tmp_path / "new.csv", HEADER + body + "u1,x,never,\n")


def add(log: Path, to: Path) -> None:
    import_log([log], to, mode=ImportMode.INCREMENTAL, run=run_here)


def replace(log: Path, to: Path) -> None:
    import_log([log], to, num_shards=2, run=run_here)


def forget(log: Path, to: Path) -> None:  # whoever stands in the log
    forget_users(to, ["u1", "u2"], dataset_group="default", run=run_here)


def content(dataset: Path) -> list[tuple[str, str]]:
    opened = open_dataset(dataset)
    opened.verify()
    opened.manifest.check_counts()
    tables = [pq.read_table(path) for path in opened.shard_paths()]
    return sorted((row["user_id"], row["item_id"]) for one in tables for row in one.to_pylist())


def exit_before(number: int) -> None:
    """From now on, end this process before that change of a file or directory."""
    done = 0

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def perform(*given: object, **more: object) -> object:
            nonlocal done
            done += 1
            if done == number:
                os._exit(_KILLED)
            return change(*given, **more)

        return perform

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def dies_in_child(work: Callable[[], None], number: int) -> bool:
    """Do something in a child that is killed before its change `number`; say whether it was."""
    child = os.fork()
    if child == 0:
        try:
            exit_before(number)
            work()
            os._exit(0)
        finally:
            os._exit(1)  # it failed by itself
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED)
    return code == _KILLED


class Prepared:
    """A change that is written and not yet published, to be published again and again."""

    def __init__(self, change: Callable[[Path, Path], None], log: Path, place: Path) -> None:
        self.place = place
        self._kept = place.with_name("kept")
        with pytest.MonkeyPatch.context() as patched:
            for module in ("importing", "forgetting"):
                patched.setattr(f"raysys.logs.{module}.publish_import", self._keep)
            change(log, place / "data")

    def _keep(self, staging: Path, destination: Path, *given: Any, **more: Any) -> None:
        self._staging = staging
        self._publish = partial(publish_import, staging, destination, *given, **more)
        shutil.copytree(self.place, self._kept)

    def publish(self) -> None:
        self._publish()

    def reset(self) -> None:
        """Put dataset and staging back to where they were before they were published."""
        shutil.rmtree(self.place)
        shutil.copytree(self._kept, self.place)


@pytest.mark.parametrize("change", [add, replace, forget])
def test_a_dataset_is_the_old_or_the_new_one_wherever_publishing_dies(
    old, new, tmp_path, monkeypatch, change
):
    place = tmp_path / "place"
    place.mkdir()
    replace(old, place / "data")
    before = content(place / "data")
    prepared = Prepared(change, new, place)
    seen = [before]
    monkeypatch.setattr("raysys.storage._is_running", lambda _: False)
    while True:
        prepared.reset()
        died = dies_in_child(prepared.publish, len(seen))
        seen.append(content(place / "data"))
        if not died or seen[-1] != seen[-2] or len(seen) % 5 == 0:
            change(new, place / "data")  # it can be run again, and then leaves nothing behind
            _nothing_is_left_over(place)
        if not died:
            break
    after = content(place / "data")
    assert after == seen[-1] != before
    assert set(map(tuple, seen)) == {tuple(before), tuple(after)}
    assert seen == sorted(seen, key=lambda state: state == after)  # it changes in one moment
    assert len(seen) > 10


def _nothing_is_left_over(place: Path) -> None:
    assert [path.name for path in place.iterdir()] == ["data"]
    files = {path for path in (place / "data").rglob("*") if path.is_file()}
    named = open_dataset(place / "data").manifest.files
    assert {str(path.relative_to(place / "data")) for path in files} == {"manifest.json", *named}
    folders = {path for path in (place / "data").rglob("*") if path.is_dir()}
    assert all(any(folder.iterdir()) for folder in folders)


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let every file end where it has so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("change", [add, replace, forget])
def test_a_full_disk_is_told_and_leaves_the_dataset_as_it_was(old, new, tmp_path, change):
    replace(old, tmp_path / "data")
    before = content(tmp_path / "data")
    limit, told = 64, []
    while True:  # each time some more fits, so that another file is the first that does not
        try:
            with files_of_at_most(limit):
                change(new, tmp_path / "data")
        except DatasetError as error:
            told.append(str(error))
            assert content(tmp_path / "data") == before
            assert {path.name for path in tmp_path.iterdir()} == {"data", "old.csv", "new.csv"}
        else:
            break
        limit = limit * 3 // 2
    assert len(told) > 3
    assert all("File too large" in one for one in told)
    assert content(tmp_path / "data") != before


def test_a_destination_that_cannot_be_written_to_is_told(old, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="could not be written beside"):
        import_log([old], tmp_path / "file" / "data", run=run_here)
