"""A new table of items or users is put together with what the dataset has and must not have."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysys.errors import SourceError
from raysys.logs.header import USER_ID
from raysys.logs.runs import conform
from raysys.logs.texts import is_number
from raysys.logs.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class FinishedTable:
    """A table of items or users as it goes into the dataset."""

    id_column: str
    path: str | None
    """None where it is what the dataset has already."""
    num_forgotten: int
    """Rows that were left out, since their users were forgotten."""


def finish_table(
    path: Path, id_column: str, work: Path, *, base: Path | None, forgotten: Path | None
) -> FinishedTable:
    """Leave forgotten users out of a new table, and add it to the one that is there.

    Args:
        base: the dataset's own table, of which the rows of the same ids are replaced; None: the
            dataset has none, or the new one replaces it.
        forgotten: tombstones of the users whose rows are left out; None: nobody's.
    """
    table, num_forgotten = pq.read_table(path, partitioning=None), 0
    if forgotten is not None and id_column == USER_ID:
        named = Tombstones.open(forgotten).name(table.column(USER_ID))
        table, num_forgotten = table.filter(pa.array(~named)), int(named.sum())
    if base is not None:
        known = pq.read_table(base, partitioning=None)
        table = merged(known, table, id_column)
        if table.equals(known):
            return FinishedTable(id_column, None, num_forgotten)
    target = f"{work / id_column}-{uuid.uuid4().hex}"
    pq.write_table(table, target, compression="zstd")
    return FinishedTable(id_column, target, num_forgotten)


def merged(known: pa.Table, new: pa.Table, id_column: str) -> pa.Table:
    """Return a table with the rows of another one, which replace those of the same ids.

    Both have each id once. A column that one of them lacks is null in its rows.

    Raises:
        SourceError: a column holds text in one of them and numbers in the other.
    """
    schema = _common_schema(known.schema, new.schema, id_column)
    both = pa.concat_tables([conform(known, schema), conform(new, schema)])
    replacement = pc.index_in(known.column(id_column), value_set=new.column(id_column))
    replacement = pc.fill_null(replacement, -1).to_numpy().astype(np.int64)
    places = np.where(replacement < 0, np.arange(known.num_rows), replacement + known.num_rows)
    is_known = pc.is_in(new.column(id_column), value_set=known.column(id_column)).to_numpy()
    added = np.flatnonzero(~is_known) + known.num_rows
    return both.take(pa.array(np.concatenate([places, added]))).combine_chunks()


def _common_schema(known: pa.Schema, new: pa.Schema, id_column: str) -> pa.Schema:
    found = {field.name: field for field in known}
    for field in new:
        old = found.setdefault(field.name, field)
        if old.type == field.type:
            continue
        if not (is_number(old.type) and is_number(field.type)):
            raise SourceError(
                f"The new table has {field.type} values in its column {field.name!r}, where that "
                f"of the dataset has {old.type}, so one table cannot hold both. Give the column "
                f"the same type, or replace everything with --mode full."
            )
        found[field.name] = pa.field(field.name, pa.float64())
    others = [one.with_nullable(True) for one in found.values() if one.name != id_column]
    return pa.schema([known.field(id_column), *others])
