"""Rows per second of an import, its memory, and where its time goes.

For every size a log is simulated, then read and written by one process that does nothing else
(`pyarrow.csv.read_csv` with its threads, `pyarrow.parquet.write_table`: the floor), then imported
with validation and sharding by `import_log` on a Ray of its own. Each step is a process of its own,
so that none inherits memory from another. Run with `make bench-import`; the last line is JSON.

The floor is measured before and after the import, and their mean counts, since the machine may do
other work. Ray's start is not counted, nor is a first import of a few small files, in which Ray
starts its workers. The same import once more says what an import of hardly any rows takes
(`fixed_s`); the cost per row is what comes on top of it. A simulated log of hardly any rows says
the same of simulating. A small log is imported several times, and the mean counts.

Memory is the peak of the sum of the proportional set sizes of all processes of the import: the
program, Ray's own, and what is used of the object store. Watching it takes a part of the machine,
so that an import of its own is watched, after those that are timed. CPU seconds of the same
processes stand beside the wall seconds, since the machine may do other work; so do its load
averages.

`--profile` says what an import spends its CPU on, by running its tasks in one process.
"""

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from raysys.logs.simulator import Simulator

SIZES = (1_000_000, 5_000_000, 20_000_000)
BARS = {
    "ratio": 0.15,
    "flat": 1.25,
    "flat_simulating": 1.25,
    "peak_mib": 6144,
    "memory_growth": 1.5,
}
RATIO_SIZE = 5_000_000
MEAN_HISTORY = 50
NUM_ITEMS = 20_000
SAMPLING_PAUSE_S = 0.25
MIB = 1 << 20
_RAY_STARTS = 5


class PeakMemory:
    """The largest memory of this process and all below it during a block, seen by a thread."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLING_PAUSE_S):
            total = 0
            for process in _tree():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    total += _pss_bytes(process.pid)
            self.peak_bytes = max(self.peak_bytes, total)


def cpu_seconds() -> dict[int, float]:
    """Return what this process and each below it have used of the CPU so far."""
    used = {}
    for process in _tree():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


def _tree() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def simulate(folder: Path, rows: int) -> dict[str, Any]:
    """Write a log of about so many rows."""
    world = Simulator(
        num_users=max(rows // MEAN_HISTORY, 1), num_items=NUM_ITEMS, mean_history=MEAN_HISTORY
    )
    started = time.perf_counter()
    Simulator(num_users=1, num_items=NUM_ITEMS).write(folder / "tiny")
    fixed_s = time.perf_counter() - started
    started = time.perf_counter()
    log = Path(str(world.write(folder / "log").interactions))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "fixed_s": fixed_s, "csv_mib": log.stat().st_size / MIB}


def read_and_write(folder: Path, _: int) -> dict[str, Any]:
    """Do what no import can do without, in one process: the floor."""
    import pyarrow.csv
    import pyarrow.parquet

    started = time.perf_counter()
    table = pyarrow.csv.read_csv(folder / "log" / "interactions.csv")
    pyarrow.parquet.write_table(table, folder / "floor.parquet")
    return {"seconds": time.perf_counter() - started, "rows": table.num_rows}


def import_on_ray(folder: Path, rows: int) -> dict[str, Any]:
    """Import on a new local Ray: timed, as often as makes `RATIO_SIZE` rows; then watched."""
    import ray

    from raysys.logs.importing import import_log

    log = folder / "log" / "interactions.csv"
    small = [folder / f"small-{place}.csv" for place in range(2 * (os.cpu_count() or 1))]
    with log.open() as lines:
        head = "".join(islice(lines, 1000))
    for path in small:
        path.write_text(head)
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp", ignore_cleanup_errors=True) as home:
        start_ray(home)
        try:
            import_log(small, folder / "first")
            started = time.perf_counter()
            import_log(small, folder / "second")
            fixed_s = time.perf_counter() - started
            before, num_timed = cpu_seconds(), max(1, RATIO_SIZE // rows)
            started = time.perf_counter()
            for _ in range(num_timed):
                manifest = import_log([log], folder / "dataset")
            seconds = (time.perf_counter() - started) / num_timed
            used = cpu_seconds()
            cpu_s = sum(used[pid] - before.get(pid, 0.0) for pid in used) / num_timed
            with PeakMemory() as memory:
                import_log([log], folder / "watched")
            store = int(ray.cluster_resources()["object_store_memory"])  # type: ignore[no-untyped-call]
        finally:
            ray.shutdown()
    return {
        "seconds": seconds,
        "fixed_s": fixed_s,
        "rows": manifest.rows_in,
        "shards": manifest.num_shards,
        "peak_mib": memory.peak_bytes / MIB,
        "object_store_mib": store / MIB,
        "cpu_s": cpu_s,
    }


def start_ray(home: str) -> None:
    """Start a local Ray. On a busy machine it may not come up in time, so it is tried again."""
    import ray

    for attempt in range(1, _RAY_STARTS + 1):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=home)
            return
        except Exception:  # Ray raises no narrower one
            ray.shutdown()
            if attempt == _RAY_STARTS:
                raise


def profile(folder: Path, _: int) -> dict[str, Any]:
    """Import in this process and name the functions that take most of its time."""
    from raysys.logs.call import run_here
    from raysys.logs.importing import import_log

    profiler = cProfile.Profile(time.process_time)  # other work on the machine does not count
    log = folder / "log" / "interactions.csv"
    profiler.runcall(import_log, [log], folder / "profiled", run=run_here)
    functions = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in functions.values())
    largest = sorted(functions.items(), key=lambda one: -one[1][2])[:12]
    named = {_name(place): round(entry[2] / total, 3) for place, entry in largest}
    return {"profiled_cpu_s": total, "shares": named}


def _name(place: tuple[str, int, str]) -> str:
    file, line, function = place
    return function if file == "~" else f"{Path(file).name}:{line} {function}"


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "simulate": simulate,
    "floor": read_and_write,
    "import": import_on_ray,
    "profile": profile,
}


def run_step(step: str, folder: Path, rows: int) -> dict[str, Any]:
    """Run one step in a process of its own and return what it measured."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--rows"]
    done = subprocess.run([*command, str(rows)], stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(rows: int, directory: Path | None, with_profile: bool) -> dict[str, Any]:
    """Return what one size took."""
    with tempfile.TemporaryDirectory(prefix="bench-import-", dir=directory) as name:
        folder = Path(name)
        simulated = run_step("simulate", folder, rows)
        floors = [run_step("floor", folder, rows)]
        imported = run_step("import", folder, rows)
        floors.append(run_step("floor", folder, rows))
        shares = run_step("profile", folder, rows)["shares"] if with_profile else None
    floor = {name: (floors[0][name] + floors[1][name]) / 2 for name in ("seconds", "cpu_s")}
    of_rows_s, of_simulated_rows_s = (
        step["seconds"] - step["fixed_s"] for step in (imported, simulated)
    )
    result = {
        "rows": imported["rows"],
        "csv_mib": simulated["csv_mib"],
        "simulate_us_per_row": 1e6 * of_simulated_rows_s / imported["rows"],
        "simulate_cpu_us_per_row": 1e6 * simulated["cpu_s"] / imported["rows"],
        "floor_s": floor["seconds"],
        "floor_cpu_s": floor["cpu_s"],
        "import_s": imported["seconds"],
        "fixed_s": imported["fixed_s"],
        "import_cpu_s": imported["cpu_s"],
        "rows_per_s": imported["rows"] / imported["seconds"],
        "ratio": floor["seconds"] / imported["seconds"],
        "us_per_row": 1e6 * of_rows_s / imported["rows"],
        "cpu_us_per_row": 1e6 * imported["cpu_s"] / imported["rows"],
        "shards": imported["shards"],
        "peak_mib": imported["peak_mib"],
        "object_store_mib": imported["object_store_mib"],
        "load": os.getloadavg(),
    }
    return result | ({"profile": shares} if shares else {})


def judge(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures that have bars, from the sizes that were measured."""
    reference = min(sizes, key=lambda one: abs(one["rows"] - RATIO_SIZE))
    largest = max(sizes, key=lambda one: int(one["rows"]))

    def spread(name: str) -> float:
        return float(max(one[name] for one in sizes) / min(one[name] for one in sizes))

    return {
        "ratio": reference["ratio"],
        "flat": spread("us_per_row"),
        "flat_simulating": spread("simulate_us_per_row"),
        "peak_mib": largest["peak_mib"],
        "memory_growth": largest["peak_mib"] / reference["peak_mib"],
    }


def rounded(value: Any) -> Any:
    """Return the value with its floats at four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> int:
    """Return 0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="of each log")
    parser.add_argument("--directory", type=Path, help="where logs and datasets lie meanwhile")
    parser.add_argument("--profile", action="store_true", help="profile the first size too")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        before = time.process_time()
        measured = STEPS[arguments.step](arguments.folder, arguments.rows[0])
        print(json.dumps({"cpu_s": time.process_time() - before} | measured))
        return 0
    sizes = []
    for place, rows in enumerate(arguments.rows):
        sizes.append(measure(rows, arguments.directory, arguments.profile and place == 0))
        print(json.dumps(rounded(sizes[-1])), flush=True)
    figures = judge(sizes)
    passed = figures["ratio"] >= BARS["ratio"] and all(
        figures[name] <= bar for name, bar in BARS.items() if name != "ratio"
    )
    result = {"benchmark": "import", "cores": os.cpu_count(), **figures}
    print(json.dumps(rounded(result | {"sizes": sizes, "bars": BARS, "passed": passed})))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
