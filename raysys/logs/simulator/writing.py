"""A world's log as files, any number of rows, which tasks of Ray Data may write side by side.

    DIR/interactions.csv, or DIR/interactions/part-00000.csv and so on where there are several files
    DIR/items.csv, DIR/users.csv
    DIR/world.json      the settings and the seed: `Simulator.of_log(DIR)` knows the truth again

A file holds certain blocks of users whoever writes it, so the bytes do not depend on how many tasks
run; with another number of files the same rows follow each other in other files. What a task holds
is one block, some 200 MB, whatever the number of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from raysys import storage
from raysys.errors import ConfigError, DatasetError
from raysys.logs.call import Call, RunCalls, run_here
from raysys.logs.movielens import LogFiles
from raysys.logs.progress import OnProgress
from raysys.logs.simulator import items, people
from raysys.logs.simulator.events import event_schema
from raysys.logs.simulator.files import FileFormat, table_writer
from raysys.logs.simulator.simulator import WORLD_FILE, Simulator

_BLOCKS_PER_FILE = 4  # a million rows, about
_INTERACTIONS = "interactions"


@dataclass(frozen=True, slots=True)
class WrittenLog:
    """Where a log lies and what it holds."""

    files: LogFiles
    num_files: int
    """Of interactions."""
    num_rows: int
    """Of interactions."""
    num_bytes: int
    """Of all files."""


def write_log(
    simulator: Simulator,
    directory: Path,
    *,
    num_files: int | None = None,
    file_format: FileFormat = "csv",
    on_progress: OnProgress | None = None,
    run: RunCalls = run_here,
) -> WrittenLog:
    """Write a world's interactions, items and users.

    A simulated log at `directory` is replaced, and stays until the new one is whole.

    Args:
        directory: on storage that all nodes share.
        num_files: of interactions; fewer where there are fewer blocks of users. None: as many as
            make about a million rows each.
        run: what runs the tasks: `calls.run_calls` on Ray, by default this process.

    Raises:
        ConfigError: `num_files` is below 1.
        DatasetError: `directory` holds something else than such a log, or a file could not be
            written.
    """
    check_log_destination(directory)
    directory = directory.absolute()
    plan = _Plan.of(simulator, num_files, file_format)
    staging = storage.staging_directory(directory)
    try:
        (staging / plan.interactions[0][0]).parent.mkdir(exist_ok=True)
        num_rows = _write_files(simulator, plan.calls(simulator, staging), run, on_progress)
        storage.write_json(staging / WORLD_FILE, simulator.settings())
        num_bytes = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        storage.remove_tree(directory)
        storage.publish_directory(staging, directory)
    finally:
        storage.remove_tree(staging)
    return WrittenLog(plan.files(simulator, directory), len(plan.interactions), num_rows, num_bytes)


def check_log_destination(directory: Path) -> None:
    """Refuse to replace anything but an empty directory or a simulated log (DatasetError)."""
    if not directory.exists() or (directory / WORLD_FILE).is_file():
        return
    if not directory.is_dir() or any(directory.iterdir()):
        raise DatasetError(
            f"{directory} is there and is no simulated log (it has no {WORLD_FILE}), so it is not "
            f"replaced. Name another directory."
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which files there will be, relative to the directory."""

    file_format: FileFormat
    interactions: list[tuple[str, range]]
    """Each file and its blocks of users."""

    @classmethod
    def of(cls, simulator: Simulator, num_files: int | None, file_format: FileFormat) -> "_Plan":
        if num_files is not None and num_files < 1:
            raise ConfigError(f"The number of files must be at least 1, but got {num_files}.")
        num_blocks = simulator.people.num_blocks
        wanted = -(-num_blocks // _BLOCKS_PER_FILE) if num_files is None else num_files
        parts = np.array_split(np.arange(num_blocks), min(wanted, num_blocks))
        if len(parts) == 1:
            names = [f"{_INTERACTIONS}.{file_format}"]
        else:
            names = [f"{_INTERACTIONS}/part-{n:05d}.{file_format}" for n in range(len(parts))]
        blocks = [range(int(part[0]), int(part[-1]) + 1) for part in parts]
        return cls(file_format, list(zip(names, blocks, strict=True)))

    def calls(self, simulator: Simulator, directory: Path) -> list[Call]:
        interactions = [
            _WriteInteractions(simulator, blocks, directory / name, self.file_format)
            for name, blocks in self.interactions
        ]
        tables = [
            _WriteTable(simulator, kind, directory / self._table(kind), self.file_format)
            for kind in ("items", "users")
        ]
        return [*tables, *interactions]

    def files(self, simulator: Simulator, directory: Path) -> LogFiles:
        first = directory / self.interactions[0][0]
        return LogFiles(
            f"a simulated log (seed {simulator.seed})",
            first if len(self.interactions) == 1 else first.parent,
            directory / self._table("items"),
            directory / self._table("users"),
        )

    def _table(self, kind: str) -> str:
        return f"{kind}.{self.file_format}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """So many rows of interactions, of so many users, are in a file by now."""

    users: int
    rows: int


@dataclass(frozen=True, slots=True)
class _WriteInteractions:
    simulator: Simulator
    blocks: range
    path: Path
    file_format: FileFormat

    def run(self) -> Iterator[_Rows]:
        schema = event_schema(self.simulator.world)
        with table_writer(self.path, schema, self.file_format) as write:
            for block in self.blocks:
                table = self.simulator.block(block)
                write(table)
                yield _Rows(self.simulator.people.num_users_in(block), table.num_rows)


@dataclass(frozen=True, slots=True)
class _WriteTable:
    simulator: Simulator
    kind: Literal["items", "users"]
    path: Path
    file_format: FileFormat

    def run(self) -> Iterator[_Rows]:
        is_items = self.kind == "items"
        pieces = self.simulator.items() if is_items else self.simulator.users()
        schema = items.TABLE if is_items else people.TABLE
        with table_writer(self.path, schema, self.file_format) as write:
            for piece in pieces:
                write(piece)
        yield _Rows(0, 0)


def _write_files(
    simulator: Simulator, calls: Sequence[Call], run: RunCalls, on_progress: OnProgress | None
) -> int:
    """Run the calls, tell how far they are, and return the number of rows."""
    users = rows = 0
    for report in run(calls):
        users += report.users
        rows += report.rows
        if on_progress is not None and users:
            on_progress(rows, round(rows * simulator.world.num_users / users))
    return rows
