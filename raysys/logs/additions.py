"""What an import does because of what the dataset holds already: old events, old quarantine, users
who were forgotten. Each step is a few tasks, and none where there is nothing to be compared.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raysys.logs.assembly import Assembly
from raysys.logs.call import Call, RunCalls
from raysys.logs.catalogue_merge import FinishedTable, finish_table
from raysys.logs.header import USER_ID
from raysys.logs.parts import Runs, runs_of_old_events
from raysys.logs.runs import Run
from raysys.logs.tasks import QuarantineReport, compare_quarantine
from raysys.logs.tombstones import Tombstones


def compare_quarantines(assembly: Assembly, run: RunCalls) -> None:
    """Leave out what an earlier reading of the same source had put into quarantine."""
    compared: list[Call] = [
        _CompareQuarantine(report.source_file, Path(str(report.quarantine)), earlier, assembly.work)
        for report, earlier in assembly.read_again()
    ]
    for report in run(compared):
        assembly.add(report)


def all_event_runs(assembly: Assembly, run: RunCalls) -> list[list[Run]]:
    """Return the runs with event ids in log order, those of the shards that are there included;
    rows of one event id are within one of the lists. Lists without a new row are left out.
    """
    new = assembly.event_runs()
    if not any(new):
        return []
    old: list[Runs] = []
    if assembly.into.base is not None:
        num_shards = assembly.num_shards
        calls: list[Call] = [
            _FindOldEvents(path, number, num_shards, assembly.work)
            for number in range(num_shards)
            if (path := assembly.into.shard(number)) is not None
        ]
        old = list(run(calls))
    together = [
        [*(one for runs in old for one in runs.get(place, [])), *of_place] if of_place else []
        for place, of_place in enumerate(new)
    ]
    return [runs for runs in together if runs]


def finish_tables(assembly: Assembly, run: RunCalls) -> None:
    """Put new tables of items and users together with those that are there, and leave users out
    of them who were forgotten and did not come back since.
    """
    new = assembly.new_tables()
    away = _still_away(assembly, run) if USER_ID in new else None
    calls: list[Call] = []
    for column, path in new.items():
        base = assembly.into.table(column)
        forgotten = away if column == USER_ID else None
        if base is not None or forgotten is not None:
            calls.append(_FinishTable(path, column, assembly.work, base, forgotten))
    for finished in run(calls):
        assembly.add(finished)


def _still_away(assembly: Assembly, run: RunCalls) -> Path | None:
    """Write the tombstones of the users who have no interaction since; None: there are none."""
    if assembly.into.tombstones is None:
        return None
    calls = [_FindReturned(path, assembly.into.tombstones) for path in assembly.next_shards()]
    returned: set[bytes] = set().union(*run(calls))
    path = assembly.work / f"away-{uuid.uuid4().hex}"
    Tombstones.open(assembly.into.tombstones).without(returned).save(path)
    return path


@dataclass(frozen=True, slots=True)
class _CompareQuarantine:
    source_file: int
    path: Path
    earlier: list[Path]
    work: Path

    def run(self) -> Iterator[QuarantineReport]:
        yield compare_quarantine(self.source_file, self.path, self.earlier, self.work)


@dataclass(frozen=True, slots=True)
class _FindOldEvents:
    path: Path
    shard: int
    num_shards: int
    work: Path

    def run(self) -> Iterator[Runs]:
        target = self.work / f"old-events-{uuid.uuid4().hex}"
        yield runs_of_old_events(self.path, self.shard, self.num_shards, target)


@dataclass(frozen=True, slots=True)
class _FindReturned:
    shard: Path
    tombstones: Path

    def run(self) -> Iterator[set[bytes]]:
        yield Tombstones.open(self.tombstones).found_in(self.shard)


@dataclass(frozen=True, slots=True)
class _FinishTable:
    path: Path
    id_column: str
    work: Path
    base: Path | None
    forgotten: Path | None

    def run(self) -> Iterator[FinishedTable]:
        yield finish_table(
            self.path, self.id_column, self.work, base=self.base, forgotten=self.forgotten
        )
