"""What a dataset's table of items or users holds, and how far it joins with the interactions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.dataset.counting import ColumnProfile
from raysys.parquet_file import read_batches

_EXAMPLES = 3
_NOT_METADATA = ("item_id", "user_id", "creation_timestamp")


@dataclass(slots=True)
class TableStatistics:
    """What one table holds. Its ids are distinct, and so are those of the interactions."""

    rows: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    matched: int = 0
    """Rows whose id stands in some interaction."""
    unmatched: list[str] = field(default_factory=list)
    """Some ids that stand in no interaction; of users: the table's first ids."""


@dataclass(slots=True)
class ItemJoin(TableStatistics):
    """A table of items beside the items of the interactions."""

    unmatched_without_metadata: int = 0
    """Rows of items that nobody interacted with, and of which nothing is known but the id."""
    items_without_row: int = 0
    interactions_without_row: int = 0
    without_row: list[str] = field(default_factory=list)
    """Some items of interactions that have no row, the most popular first."""
    titles: dict[str, str] = field(default_factory=dict)
    """Of the items that were asked for."""


def table_statistics(path: Path) -> TableStatistics:
    """Read a table and return what its columns hold; nothing is joined."""
    found = TableStatistics()
    for batch in read_batches(path):
        _add_batch(found, batch)
        ids = batch.column(0).slice(0, _EXAMPLES - len(found.unmatched))
        found.unmatched += [str(one) for one in ids.to_pylist()]
    return found


def join_items(path: Path, counts: pa.Table, titles_of: list[str]) -> ItemJoin:
    """Read a table of items beside `counts`, one row of `ITEM_COUNTS` per interacted item."""
    found = ItemJoin()
    interacted = counts.column("item_id")
    has_row = np.zeros(counts.num_rows, bool)
    for batch in read_batches(path):
        _add_batch(found, batch)
        ids = batch.column("item_id")
        places = pc.index_in(ids, value_set=interacted)
        is_unmatched = pc.is_null(places)
        has_row[places.drop_null().to_numpy(zero_copy_only=False)] = True
        found.unmatched_without_metadata += _count(pc.and_(is_unmatched, _knows_nothing(batch)))
        left = ids.filter(is_unmatched).slice(0, _EXAMPLES - len(found.unmatched))
        found.unmatched += left.to_pylist()
        found.titles |= _titles(batch, titles_of)
    found.matched = int(has_row.sum())
    missing = counts.filter(pa.array(~has_row))
    found.items_without_row = missing.num_rows
    found.interactions_without_row = pc.sum(missing.column("interactions")).as_py() or 0
    order = [("interactions", "descending"), ("item_id", "ascending")]
    found.without_row = missing.sort_by(order).slice(0, _EXAMPLES).column("item_id").to_pylist()
    return found


def would_join(found: ItemJoin, counts: pa.Table, path: Path) -> str | None:
    """Return what would have to be ignored of ids for most of them to join, or None.

    Only for tables that hardly join as they are: it reads all ids once more.
    """
    missing = counts.column("item_id")
    batches = read_batches(path, ["item_id"])
    given = pa.chunked_array([batch.column("item_id") for batch in batches], pa.string())
    for ignored, normal in _NORMAL_FORMS.items():
        joined = _count(pc.is_in(normal(missing), value_set=pc.unique(normal(given))))
        if joined > max(found.matched, len(missing) // 2):
            return ignored
    return None


_NORMAL_FORMS = {
    "white space around ids": pc.utf8_trim_whitespace,
    "the case of letters": pc.utf8_lower,
    "leading zeros": lambda ids: pc.replace_substring_regex(ids, "^0+", ""),
    "a .0 at the end": lambda ids: pc.replace_substring_regex(ids, r"\.0+$", ""),
    "everything but digits": lambda ids: pc.replace_substring_regex(ids, "[^0-9]+", ""),
    "everything but digits, and leading zeros": lambda ids: pc.replace_substring_regex(
        ids, "^[^1-9]+|[^0-9]+", ""
    ),
}


def _first_of(reason: str, quarantine: pa.Table) -> str:
    rows = quarantine.filter(pc.equal(quarantine.column("reason"), reason))
    (first,) = rows.slice(0, 1).to_pylist()
    return f"{first['source']}, row {first['source_row']:,}: {first['detail']}"


def _add_batch(found: TableStatistics, batch: pa.Table) -> None:
    found.rows += batch.num_rows
    for name in batch.column_names:
        if name not in ("item_id", "user_id"):
            found.columns.setdefault(name, ColumnProfile()).add_column(batch.column(name))


def _knows_nothing(batch: pa.Table) -> pa.ChunkedArray:
    """Say of each row whether every column of metadata is empty."""
    is_bare = pa.chunked_array([pa.array(np.ones(batch.num_rows, bool))])
    for name in batch.column_names:
        if name not in _NOT_METADATA:
            column = batch.column(name)
            is_empty = pc.is_null(column)
            if pa.types.is_string(column.type):
                is_empty = pc.or_(is_empty, pc.fill_null(pc.equal(column, ""), True))
            is_bare = pc.and_(is_bare, is_empty)
    return is_bare


def _titles(batch: pa.Table, items: list[str]) -> dict[str, str]:
    if "title" not in batch.column_names:
        return {}
    asked = batch.filter(pc.is_in(batch.column("item_id"), value_set=pa.array(items, pa.string())))
    pairs = zip(asked.column("item_id").to_pylist(), asked.column("title").to_pylist(), strict=True)
    return {item: title for item, title in pairs if title}


def _count(mask: pa.Array | pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def quarantine_examples(paths: Sequence[Path], reasons: Collection[str]) -> dict[str, str]:
    """Return, for each reason, where the first row of it stands and what is wrong with it.

    Reading ends when there is one for each of `reasons`.
    """
    examples: dict[str, str] = {}
    for path in paths:
        for batch in read_batches(path, ["source", "source_row", "reason", "detail"]):
            for reason in pc.unique(batch.column("reason")).to_pylist():
                if reason not in examples:
                    examples[reason] = _first_of(reason, batch)
            if examples.keys() >= set(reasons):
                return examples
    return examples
