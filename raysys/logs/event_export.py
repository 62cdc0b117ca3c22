"""The way back: events, slates, items and users leave the database as tables that the rooms on the
right read.

All files appear together or not at all. Events and slates are of one moment: an event is a click in
the one file if and only if it was stored when the other was read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysys import storage
from raysys.errors import DatasetError, StateError
from raysys.logs.progress import OnProgress
from raysys.logs.put_export import ITEMS_FILE, USERS_FILE, write_items, write_users
from raysys.state.items import StoredItem
from raysys.state.log_reader import LogEnd, LogReader, StoredEvent, StoredSlate
from raysys.tables import EXPORTED_EVENTS, IMPRESSIONS

INTERACTIONS_FILE = "interactions.parquet"
IMPRESSIONS_FILE = "impressions.parquet"

_BLOCKS = "events and slates"


@dataclass(slots=True)
class ExportReport:
    """What an export wrote.

    Args:
        last_event_num: of the newest event that was read.
        events_without_item: events, such as searches, that are no interactions and stay behind.
        impressions: positions of `slates`, of which `explored` and `clicked` are parts.
        items, users: that clients put; without any there is no file of them.
    """

    last_event_num: int
    interactions: int = 0
    events_without_item: int = 0
    slates: int = 0
    impressions: int = 0
    explored: int = 0
    clicked: int = 0
    items: int = 0
    users: int = 0


def check_export_destination(destination: Path) -> None:
    """Refuse to write where something lies; an empty directory is nothing.

    Raises:
        DatasetError: there is a file, or a directory with things in it.
    """
    if destination.is_dir():
        if not any(destination.iterdir()):
            return
        raise DatasetError(
            f"{destination} is a directory with things in it. An export is a directory of its own, "
            f"written in one step: name a new one. `raysys import` reads several at once."
        )
    if destination.exists():
        raise DatasetError(
            f"{destination} is a file; an export is a directory. Name another; nothing was changed."
        )


def export_log(
    log: LogReader,
    destination: Path,
    *,
    items: Sequence[StoredItem] = (),
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write all events, all slates, some items and all users that were put into a new directory.

    Raises:
        DatasetError: `destination` is not free, or cannot be written.
        StateError: there is nothing to export.
    """
    check_export_destination(destination)
    end = log.end()
    has_users = any(log.users(block_size=1))
    if not items and not has_users:
        _refuse_nothing(log, end)
    try:
        staging = storage.staging_directory(destination)
        try:
            report = _write(log, end, staging, on_progress)
            if items:
                report.items = write_items(items, staging / ITEMS_FILE)
            if has_users:
                users = chain.from_iterable(log.users())
                report.users = write_users(users, staging / USERS_FILE)
            if destination.exists():
                destination.rmdir()  # it was empty
            storage.publish_directory(staging, destination)
        except BaseException:
            storage.remove_tree(staging)
            raise
    except OSError as error:
        raise DatasetError(
            f"The export to {destination} could not be written: {error}. Nothing of it was kept."
        ) from error
    return report


def _refuse_nothing(log: LogReader, end: LogEnd) -> None:
    if end == LogEnd(0, 0):
        groups = log.dataset_groups()
        there = f"it has some of {', '.join(groups)}" if groups else "it is empty"
        raise StateError(
            f"The database holds no events and no slates of the dataset group "
            f"{log.dataset_group!r}: {there}. Nothing was written. Name another dataset group or "
            f"database."
        )


def _write(
    log: LogReader, end: LogEnd, directory: Path, on_progress: OnProgress | None
) -> ExportReport:
    total = end.event_num + end.slate_num

    def tell(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total, _BLOCKS)

    report = write_interactions(log, end, directory / INTERACTIONS_FILE, on_event_num=tell)
    with _writer(directory / IMPRESSIONS_FILE, IMPRESSIONS) as writer:
        for slates in log.slates(end):
            table = impressions_of(slates)
            report.slates += len(slates)
            report.impressions += table.num_rows
            report.explored += pc.sum(table["explored"], min_count=0).as_py()
            report.clicked += pc.sum(table["clicked"], min_count=0).as_py()
            writer.write_table(table)
            tell(end.event_num + slates[-1].slate_num)
    tell(total)
    return report


def write_interactions(
    log: LogReader,
    end: LogEnd,
    path: Path,
    *,
    after: int = 0,
    on_event_num: Callable[[int], None] = lambda _: None,
) -> ExportReport:
    """Write the events with numbers larger than `after`, up to `end`, and count them."""
    report = ExportReport(last_event_num=after)
    with _writer(path, EXPORTED_EVENTS) as writer:
        for events in log.events(end, after=after):
            report.last_event_num = events[-1].event_num
            rows = [_interaction(stored) for stored in events if stored.event.item_id is not None]
            report.interactions += len(rows)
            report.events_without_item += len(events) - len(rows)
            writer.write_table(_table(rows, EXPORTED_EVENTS))
            on_event_num(report.last_event_num)
    return report


def impressions_of(slates: Sequence[StoredSlate]) -> pa.Table:
    """Return the impressions of slates, list after list from the top."""
    return _table([row for stored in slates for row in _impressions(stored)], IMPRESSIONS)


def _interaction(stored: StoredEvent) -> tuple[Any, ...]:
    event = stored.event
    return (
        event.user_id,
        event.item_id,
        event.occurred_at_us,
        event.event_type,
        event.event_value,
        event.event_id,
    )


def _impressions(stored: StoredSlate) -> Iterator[tuple[Any, ...]]:
    slate, explored = stored.slate, set(stored.slate.explored)
    fresh, visible = set(slate.fresh_item_ids), stored.visible_item_ids
    shown = zip(slate.item_ids, slate.propensities, slate.came_as(), strict=True)
    for position, (item_id, propensity, came_as) in enumerate(shown):
        yield (
            slate.recommendation_id,
            slate.user_id,
            item_id,
            position,
            propensity,
            position in explored,
            slate.shown_at_us,
            slate.release,
            slate.policy,
            slate.exploration_weight,
            slate.seed,
            item_id in stored.clicked_item_ids,
            came_as,
            item_id in fresh,
            slate.num_fresh,
            None if visible is None else item_id in visible,
        )


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd")
