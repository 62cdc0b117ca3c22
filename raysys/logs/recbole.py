"""What RecBole's atomic files of items and users mean, said the way that other tables say it.

`token_seq` columns hold several values, `class` is `genres`, and the release year, which RecBole
cut off, is part of the title again.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.schema import TITLES

_NAMES = {"class": "genres", "genre": "genres", "release_year": "year"}


def translated(table: pa.Table, written: Sequence[str]) -> pa.Table:
    """Return a table of texts in the usual names and forms.

    Args:
        written: the column names with their types, such as `class:token_seq`.
    """
    kinds = {one.partition(":")[0].strip().lower(): one.partition(":")[2] for one in written}
    for column in table.column_names:
        if kinds.get(column, "").strip() == "token_seq" and column not in TITLES:
            joined = pc.replace_substring(table.column(column), " ", "|")
            table = _replaced(table, column, joined)
    table = table.rename_columns([_NAMES.get(one, one) for one in table.column_names])
    title = next((one for one in TITLES if one in table.column_names), None)
    return table if title is None or "year" not in table.column_names else _dated(table, title)


def _dated(table: pa.Table, title: str) -> pa.Table:
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
