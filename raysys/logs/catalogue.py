"""Tables of items and of users: one row per id, an id column first, then whatever the source has.

Text sources give text columns; Parquet keeps numbers as numbers. Several values of one cell are one
text with `|` between them. RecBole's names and types are translated: `token_seq` columns are such
lists, `class` is `genres`, and the release year, which RecBole cut off, is part of the title again.
A whole table is held in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys import tables
from raysys.errors import SourceError
from raysys.logs import fields
from raysys.logs.columnar import open_parquet
from raysys.logs.delimited import read_header, read_text
from raysys.logs.formats import JsonFormat, MovieLensTable, ParquetFormat, TextFormat
from raysys.logs.header import ITEM_ID, USER_ID, find_columns
from raysys.logs.json_table import read_json_table
from raysys.logs.movielens_table import read_movielens_table
from raysys.logs.source import Source

_TITLES = ("title", "movie_title", "item_title")
_RECBOLE_NAMES = {"class": "genres", "genre": "genres", "release_year": "year"}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A table of items or users, and what was done to it beyond copying, in sentences."""

    table: pa.Table
    notices: list[str]


def read_items(source: Source) -> Catalogue:
    """Read a table of items: `tables.ITEMS`, then further columns. SourceError: it cannot be."""
    return _read(source, ITEM_ID, _as_items)


def read_users(source: Source) -> Catalogue:
    """Read a table of users: `tables.USERS`, then further columns. SourceError: it cannot be."""
    return _read(source, USER_ID, lambda table: table)


def inspect_catalogue(source: Source, id_column: str) -> None:
    """Check that a file can be read as a table with `id_column` (SourceError)."""
    if isinstance(source.format, MovieLensTable):
        return  # its columns are known
    if isinstance(source.format, ParquetFormat):
        with open_parquet(source) as file:
            written = file.schema_arrow.names
    else:
        written = [source.format.column_name(one) for one in read_header(source, source.format)]
    check_names(written, source.name, id_column)


def check_names(written: list[str], name: str, id_column: str) -> None:
    """Check that a table has the id column, and no column twice (SourceError)."""
    find_columns(written, name, required=[id_column], optional=_others(written, id_column))


def _read(source: Source, id_column: str, finish: Callable[[pa.Table], pa.Table]) -> Catalogue:
    inspect_catalogue(source, id_column)
    notices: list[str] = []
    is_text = isinstance(source.format, TextFormat)
    if isinstance(source.format, TextFormat):
        table = _read_text(source, source.format, id_column, notices)
    elif isinstance(source.format, MovieLensTable):
        table = read_movielens_table(source, source.format, id_column, notices)
    elif isinstance(source.format, JsonFormat):
        table = _texts_and_numbers(read_json_table(source, notices), source.name, notices)
    else:
        table = _texts_and_numbers(_read_parquet(source), source.name, notices)
    table = _with_usable_ids(table, id_column, source.name, is_text, notices)
    source.check_unchanged()
    others = [column for column in table.column_names if column != id_column]
    return Catalogue(finish(table.select([id_column, *others])), notices)


def _others(names: list[str], id_column: str) -> list[str]:
    lowered = [name.strip().lower() for name in names]
    return [name for name in dict.fromkeys(lowered) if name != id_column]


def _read_text(
    source: Source, text_format: TextFormat, id_column: str, notices: list[str]
) -> pa.Table:
    name = source.name
    written = read_header(source, text_format)
    names = [text_format.column_name(column) for column in written]
    header = find_columns(names, name, required=[id_column], optional=_others(names, id_column))
    pieces = []
    refused = 0
    for batch in read_text(source, text_format, header=header):
        pieces.append(pa.table(batch.columns))
        refused += len(batch.refused)
    if refused:
        notices.append(f"{name}: {refused:,} rows were left out, since they are no whole rows.")
    columns = dict.fromkeys(header.positions)
    empty = pa.table({column: pa.array([], pa.binary()) for column in columns})
    table = pa.concat_tables([empty, *pieces])
    for place, column in enumerate(table.column_names):
        if column != id_column:
            table = table.set_column(place, column, _decoded(table.column(column), name, notices))
    return _translate_recbole(table, written) if text_format.has_typed_names else table


def _decoded(column: pa.ChunkedArray, name: str, notices: list[str]) -> pa.ChunkedArray:
    """Return bytes as text; bytes that are no UTF-8 become the replacement character."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        notices.append(f"{name}: some text is not UTF-8; its bad bytes were replaced.")
        texts = [
            None if value is None else value.decode("utf-8", "replace")
            for value in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())])


def _translate_recbole(table: pa.Table, written: list[str]) -> pa.Table:
    kinds = {one.partition(":")[0].strip().lower(): one.partition(":")[2] for one in written}
    for place, column in enumerate(table.column_names):
        if kinds[column].strip() == "token_seq" and column not in _TITLES:
            joined = pc.replace_substring(table.column(column), " ", "|")
            table = table.set_column(place, column, joined)
    table = table.rename_columns([_RECBOLE_NAMES.get(one, one) for one in table.column_names])
    title = next((one for one in _TITLES if one in table.column_names), None)
    if title is None or "year" not in table.column_names:
        return table
    year, text = table.column("year"), table.column(title)
    with_year = pc.binary_join_element_wise(
        text, pc.binary_join_element_wise("(", year, ")", ""), " "
    )
    is_unknown = pc.or_kleene(pc.is_null(year), pc.equal(year, text))  # both say "unknown"
    table = _replaced(table, title, pc.if_else(is_unknown, text, with_year))
    is_year = pc.match_substring_regex(year, "^[0-9]{4}$")
    return _replaced(table, "year", pc.if_else(is_year, year, pa.scalar(None, pa.string())))


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _read_parquet(source: Source) -> pa.Table:
    with open_parquet(source) as file:
        try:
            table = file.read()
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{source.name} is damaged: its rows cannot be read. {error}"
            ) from error
    return table.rename_columns([one.strip().lower() for one in table.column_names])


def _texts_and_numbers(table: pa.Table, name: str, notices: list[str]) -> pa.Table:
    """Return what a table of typed columns holds as texts and numbers."""
    kept = {}
    for column in table.column_names:
        values = _as_text_or_number(table.column(column))
        if values is not None and pa.types.is_string(values.type):
            values = _decoded(values.cast(pa.binary()), name, notices)
        if values is None:
            kind = table.schema.field(column).type
            notices.append(f"{name}: column {column!r} was left out, since its type is {kind}.")
        else:
            kept[column] = values
    return pa.table(kept)


def _as_text_or_number(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    types = pa.types
    kind = column.type
    if types.is_dictionary(kind):
        return _as_text_or_number(column.cast(kind.value_type))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_string(kind):
        return column
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if (types.is_list(kind) or types.is_large_list(kind)) and types.is_string(kind.value_type):
        return pc.binary_join(column, "|")
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return None


def _with_usable_ids(
    table: pa.Table, id_column: str, name: str, is_text: bool, notices: list[str]
) -> pa.Table:
    """Leave out rows without a usable id, and all but the first row of an id."""
    column = table.column(id_column).combine_chunks()
    column = column if isinstance(column, pa.Array) else pa.array([], column.type)
    ids, codes = fields.parse_ids(column, is_text=is_text)
    if bad := int(np.count_nonzero(codes)):
        reasons = sorted({str(fields.reason_of(int(code))) for code in np.unique(codes[codes > 0])})
        notices.append(
            f"{name}: {bad:,} rows were left out, since their {id_column.upper()} cannot be used "
            f"({', '.join(reasons)})."
        )
    table = _replaced(table, id_column, ids).filter(pa.array(codes == 0))
    distinct = table.append_column("__place", pa.array(np.arange(table.num_rows)))
    first = distinct.group_by(id_column).aggregate([("__place", "min")]).column("__place_min")
    if repeats := table.num_rows - len(first):
        notices.append(f"{name}: {repeats:,} rows were left out, since their id came before.")
    return table.take(first.take(pc.sort_indices(first)))


def _as_items(table: pa.Table) -> pa.Table:
    title = next((one for one in _TITLES if one in table.column_names), None)
    others = [one for one in table.column_names if one not in (ITEM_ID, title)]
    titles = pa.nulls(table.num_rows, pa.string()) if title is None else table.column(title)
    columns = [table.column(ITEM_ID), titles.cast(pa.string())]
    return pa.table(
        [*columns, *(table.column(one) for one in others)],
        names=[*tables.ITEMS.names, *others],
    )
