"""Many rows, and many keys, in one statement.

On PostgreSQL rows travel as one array per column, keys as one array, so that a statement is the
same however many they are and is taken apart once. With a parameter per value psycopg took each
apart anew, which was three fifths of the time that storing 320 events took.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

_DIALECTS: dict[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}


def insert_of(dialect_name: str) -> Any:
    """Return the dialect's INSERT, which knows ON CONFLICT."""
    return _DIALECTS[dialect_name].insert


def insert_rows_of(dialect_name: str, table: Table) -> Any:
    """Return the dialect's INSERT of many rows, to be executed with their `parameters`.

    Rows have every column but one that counts up by itself.
    """
    insert = insert_of(dialect_name)(table)
    if dialect_name == "sqlite":
        return insert
    given = [each for each in table.columns if each is not table.autoincrement_column]
    arrays = [bindparam(each.name, type_=postgresql.ARRAY(each.type)) for each in given]
    rows = func.unnest(*arrays).table_valued(*(column(each.name, each.type) for each in given))
    names = [each.name for each in given]
    return insert.from_select(names, select(*rows.render_derived().columns))


def is_one_of(dialect_name: str, of: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return whether a column is one of a list that is bound under a name, however long it is."""
    if dialect_name == "sqlite":
        return of.in_(bindparam(name, expanding=True))
    return of == func.any(bindparam(name, type_=postgresql.ARRAY(of.type)))


def parameters(dialect_name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return what an `insert_rows_of` is executed with for one row or more, all of equal keys."""
    if dialect_name == "sqlite":
        return rows
    return {name: [row[name] for row in rows] for name in rows[0]}
