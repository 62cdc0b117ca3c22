"""Tables of items and of users: one row per id, an id column first, then whatever the source has.

With a schema, the columns that it declares, typed. Without one, text sources give text columns and
typed sources keep numbers as numbers. Several values of one cell are one text with `|` between
them. In either case CREATION_TIMESTAMP is whole seconds since 1970. A whole table is held in
memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys import tables
from raysys.logs.catalogue_values import Faults, values_of
from raysys.logs.columnar import plain
from raysys.logs.delimited import read_header
from raysys.logs.formats import JsonFormat, MovieLensTable, TextFormat
from raysys.logs.header import ITEM_ID, USER_ID, Header
from raysys.logs.json_table import read_json_table
from raysys.logs.layout import Layout
from raysys.logs.movielens_table import read_movielens_table
from raysys.logs.raw import RawBatch
from raysys.logs.readers import inspect_source, read_source
from raysys.logs.recbole import translated
from raysys.logs.schema import CREATION_TIMESTAMP, TITLE, TITLES, Field, Kind, Schema, ValueType
from raysys.logs.source import Source


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A table of items or users.

    Attributes:
        table: `tables.ITEMS` or `tables.USERS`, then further columns.
        schema: what the columns hold, as it was declared or as it was found.
        notices: what was done beyond copying, in sentences.
        num_unusable: rows that were left out, since they are no rows or their id is none.
    """

    table: pa.Table
    schema: Schema
    notices: list[str]
    num_unusable: int


def read_catalogue(source: Source, layout: Layout) -> Catalogue:
    """Read a table of items or of users.

    Raises:
        SourceError: the source cannot be read, or lacks a column.
    """
    id_column = id_column_of(layout.kind)
    faults = Faults(source.name)
    header, notices, batches = batches_of(source, layout)
    pieces = [values_of(batch, layout, id_column, faults) for batch in batches]
    source.check_unchanged()
    names = [column for column in header.positions if column not in faults.columns_left_out]
    table = _concatenated(pieces, names, layout.schema)
    if isinstance(source.format, TextFormat) and source.format.has_typed_names:
        table = translated(table, read_header(source, source.format))
    table, num_repeats = _first_of_each(table, id_column)
    notices += faults.notices()
    if num_repeats:
        notices.append(
            f"{source.name}: {num_repeats:,} rows were left out, since their id came before."
        )
    table = _arranged(table, layout.kind)
    schema = layout.schema if layout.is_declared else _found(table, layout)
    return Catalogue(table, schema, notices, faults.num_unusable)


def inspect_catalogue(source: Source, layout: Layout) -> None:
    """Check that a source can be read as a table of items or users (SourceError)."""
    if not isinstance(source.format, MovieLensTable):  # their columns are known
        inspect_source(source, layout)


def batches_of(source: Source, layout: Layout) -> tuple[Header, list[str], Iterable[RawBatch]]:
    """Return the columns of a source, what is to be said of them, and its rows."""
    notices: list[str] = []
    if isinstance(source.format, MovieLensTable):
        id_column = id_column_of(layout.kind)
        table = read_movielens_table(source, source.format, id_column, notices)
        rows = np.arange(1, table.num_rows + 1)
    elif isinstance(source.format, JsonFormat) and layout.kind is not Kind.INTERACTIONS:
        table, rows = read_json_table(source, notices)
    else:
        header, notices = inspect_source(source, layout)
        return header, notices, read_source(source, layout)
    header = layout.find(table.column_names, source.name, is_open=layout.is_declared)
    columns = {
        column: plain(table.column(place).combine_chunks())
        for column, place in header.positions.items()
    }
    for column in header.later:
        columns[column] = pa.nulls(table.num_rows)
    batch = RawBatch(columns, rows, False, source.num_bytes, lambda _: [])
    return header, [*header.notices(source.name), *notices], [batch]


def id_column_of(kind: Kind) -> str:
    """Return the column whose ids the rows of a table belong to."""
    return ITEM_ID if kind is Kind.ITEMS else USER_ID


def _concatenated(pieces: list[pa.Table], names: list[str], schema: Schema) -> pa.Table:
    """Return the pieces as one table; without any, one without rows."""
    if pieces:
        return pa.concat_tables(pieces).select(names)
    types = {field.column: field.type.arrow for field in schema.fields}
    return pa.schema([(name, types.get(name, pa.string())) for name in names]).empty_table()


def _first_of_each(table: pa.Table, id_column: str) -> tuple[pa.Table, int]:
    """Return the first row of each id, and how many other rows there were."""
    distinct = table.append_column("__place", pa.array(np.arange(table.num_rows)))
    first = distinct.group_by(id_column).aggregate([("__place", "min")]).column("__place_min")
    return table.take(first.take(pc.sort_indices(first))), table.num_rows - len(first)


def _arranged(table: pa.Table, kind: Kind) -> pa.Table:
    """Return the table with the columns of `raysys.tables` first."""
    if kind is Kind.USERS:
        others = [one for one in table.column_names if one != USER_ID]
        return table.select([USER_ID, *others])
    title = next((one for one in TITLES if one in table.column_names), None)
    others = [one for one in table.column_names if one not in (ITEM_ID, title)]
    titles = pa.nulls(table.num_rows, pa.string()) if title is None else table.column(title)
    columns = [table.column(ITEM_ID), titles.cast(pa.string())]
    return pa.table(
        [*columns, *(table.column(one) for one in others)],
        names=[*tables.ITEMS.names, *others],
    )


def _found(table: pa.Table, layout: Layout) -> Schema:
    """Return a schema that says what a table holds for which none was declared."""
    fields = [Field(table.column_names[0].upper(), ValueType.STRING)]
    for field in list(table.schema)[1:]:
        name = field.name.upper() if field.name.isascii() else field.name
        is_text = pa.types.is_string(field.type)
        value_type = ValueType.STRING
        if not is_text:
            is_whole = pa.types.is_integer(field.type)
            value_type = ValueType.LONG if is_whole else ValueType.DOUBLE
        is_name = field.name == TITLE and layout.kind is Kind.ITEMS
        is_category = is_text and not is_name and field.name != CREATION_TIMESTAMP
        fields.append(Field(name, value_type, True, is_category, is_item_name=is_name))
    return Schema(layout.kind, tuple(fields))
