"""Many rows, and many keys, in one statement.

On PostgreSQL rows travel as one array per column, keys as one array, so that a statement is the
same however many they are and is taken apart once. With a parameter per value psycopg took each
apart anew, which was three fifths of the time that storing 320 events took.

On SQLite they travel as one tuple per row, which the driver binds. Of storing a slate SQLAlchemy's
own dealing with its 20 values took half the processor time.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, column, func, select
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


class RowByRow:
    """A statement that is executed for each of many rows; it returns nothing.

    Args:
        names: of the parameters, two or more. Their values must be what SQLite's driver stores as
            they are: texts, numbers, bytes, None.
    """

    def __init__(self, dialect_name: str, statement: Any, names: Sequence[str]) -> None:
        self._statement = statement
        self._is_prepared = dialect_name == "sqlite"
        if self._is_prepared:
            compiled = statement.compile(dialect=sqlite.dialect(), column_keys=names)
            self._text = str(compiled)
            self._values_of = itemgetter(*compiled.positiontup)

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute it for one row or more."""
        if self._is_prepared:
            connection.exec_driver_sql(self._text, [self._values_of(row) for row in rows])
        else:
            connection.execute(self._statement, rows)


class NewRows:
    """Inserts those rows that are not there yet into a table that counts its rows up.

    Args:
        name: the column by which a row of a dataset group is known.
    """

    def __init__(self, dialect_name: str, table: Table, name: Column[str]) -> None:
        self._is_sqlite = dialect_name == "sqlite"
        number: Any = table.autoincrement_column
        self._insert = insert_rows_of(dialect_name, table).on_conflict_do_nothing(
            index_elements=["dataset_group", name.name]
        )
        if self._is_sqlite:
            given = [each.name for each in table.columns if each is not number]
            self._insert_each = RowByRow(dialect_name, self._insert, given)
            self._last = select(func.coalesce(func.max(number), 0))
            self._after = select(name).where(number > bindparam("after"))
        else:
            self._insert = self._insert.returning(name)

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
        """Insert one row or more, of equal keys; return the names of those that were new."""
        if not self._is_sqlite:
            bound = parameters("postgresql", rows)
            return set(connection.execute(self._insert, bound).scalars())
        # Who writes holds the whole file, so numbers above the last one are of these rows.
        last = connection.execute(self._last).scalar_one()
        self._insert_each.execute(connection, rows)
        return set(connection.execute(self._after, {"after": last}).scalars())
