"""Imports on a real Ray whose driver or workers are killed: the old dataset or the new one, whole.

Ten moments, drawn with a seed among all steps that an import takes, not by the clock.
"""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from raysys.dataset.dataset import open_dataset
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import ImportMode
from tests.wiring.crashing_import import PROGRAM, CrashingImport
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

_NUM_DRIVERS = 6
_NUM_WORKERS = 4
_ROOT = Path(__file__).parents[2]
_HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_ID\n"

Content = list[tuple[str, str, int]]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray():
        yield


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    """A log, and one to be added: new rows, rows that are there, an event that is, broken rows."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(_HEADER + "".join(f"u{n % 7},i{n},{n},e{n}\n" for n in range(500)))
    rows = [f"u{n % 9},j{n},{n},f{n}\n" for n in range(3000)]
    new.write_text(_HEADER + "".join(rows) + "u1,i1,1,e1\nx,y,3,e2\n,i,1,\n")
    return old, new


def content(dataset: Path) -> Content:
    """Return every row, after checking every file and every count."""
    opened = open_dataset(dataset)
    opened.verify()
    opened.manifest.check_counts()
    columns = ["user_id", "item_id", "source_row"]
    tables = [pq.read_table(path, columns=columns) for path in opened.shard_paths()]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def import_here(log: Path, to: Path, mode: ImportMode) -> None:
    import_log([log], to, mode=mode, num_shards=3, run=run_here)


def test_a_driver_that_is_killed_at_any_moment_leaves_the_old_or_the_new_dataset(
    logs: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = logs
    import_here(old, tmp_path / "begin", ImportMode.FULL)
    before, after, drivers = content(tmp_path / "begin"), {}, []
    address = ray.get_runtime_context().gcs_address
    for mode in ImportMode:
        shutil.copytree(tmp_path / "begin", tmp_path / mode / "data")
        whole = CrashingImport(tmp_path / "mark")
        whole.run(new, tmp_path / mode / "data", mode)
        after[mode] = content(tmp_path / mode / "data")
        moments = range(1, whole.num_moments + 1)
        for moment in random.Random(4).sample(moments, _NUM_DRIVERS // 2):
            place = tmp_path / f"{mode}-{moment}"
            shutil.copytree(tmp_path / "begin", place / "data")
            arguments = [address, str(new), str(place / "data"), str(mode), str(moment)]
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=_ROOT,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            drivers.append((process, place, mode))
    for process, place, mode in drivers:
        assert process.wait(timeout=300) == -signal.SIGKILL
        assert content(place / "data") in (before, after[mode])
        import_here(new, place / "data", mode)
        assert content(place / "data") == after[mode]
        assert [path.name for path in place.iterdir()] == ["data"]


def test_an_import_whose_worker_is_killed_at_any_moment_goes_on_to_the_same_dataset(
    logs: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = logs
    import_here(old, tmp_path / "begin", ImportMode.FULL)
    shutil.copytree(tmp_path / "begin", tmp_path / "whole")
    whole = CrashingImport(tmp_path / "never")
    counts = whole.run(new, tmp_path / "whole", ImportMode.INCREMENTAL).imports[-1]
    for number, step in enumerate(random.Random(4).sample(whole.steps, _NUM_WORKERS)):
        to, mark = tmp_path / f"data-{number}", tmp_path / f"mark-{number}"
        shutil.copytree(tmp_path / "begin", to)
        crashing = CrashingImport(mark, dies_before=step)
        record = crashing.run(new, to, ImportMode.INCREMENTAL).imports[-1]
        assert mark.exists()  # it did die
        assert content(to) == content(tmp_path / "whole")
        assert (record.rows_in, record.num_told) == (counts.rows_in, counts.rows_in)
        assert record.rows_accepted == counts.rows_accepted
