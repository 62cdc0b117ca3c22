"""Named filters of one dataset group: rows that an operator writes and every gateway reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, select

from raysys.errors import StateError
from raysys.state.database import Database
from raysys.state.tables import filters

MAX_FILTERS = 30
"""Of a dataset group: a quota of Amazon Personalize."""


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """One filter as it is stored."""

    name: str
    arn: str
    expression: str
    created_at_us: int
    """Microseconds since 1970 UTC."""


class FilterTable:
    """The filters of one dataset group."""

    def __init__(self, database: Database, dataset_group: str) -> None:
        self._database = database
        self._dataset_group = dataset_group

    def create(self, named: NamedFilter) -> None:
        """Store a filter.

        Raises:
            StateError: there is one of that name, or there are as many as there may be.
        """

        def insert(connection: Connection) -> None:
            present = connection.execute(self._select()).all()
            if any(row == _row(named) for row in present):
                return  # committed before the connection was lost
            if any(row.name == named.name for row in present):
                raise StateError(
                    f"There is a filter {named.name!r} already. Delete it first (`raysys filter "
                    f"delete`), or take another name."
                )
            if len(present) >= MAX_FILTERS:
                raise StateError(
                    f"The dataset group {self._dataset_group!r} has {len(present)} filters, and "
                    f"{MAX_FILTERS} is the most. Delete one, or give one parameters instead of "
                    f"values."
                )
            values = dict(zip(_COLUMNS, _row(named), strict=True))
            connection.execute(filters.insert().values(dataset_group=self._dataset_group, **values))

        self._database.write(insert)

    def delete(self, name: str) -> None:
        """Remove a filter (StateError: there is none of that name)."""

        def remove(connection: Connection) -> int:
            is_it = (filters.c.dataset_group == self._dataset_group) & (filters.c.name == name)
            return connection.execute(filters.delete().where(is_it)).rowcount

        if not self._database.write(remove):
            raise StateError(
                f"There is no filter {name!r} in the dataset group {self._dataset_group!r}. "
                f"`raysys filter list` names those that there are."
            )

    def all(self) -> list[NamedFilter]:
        """Return every filter, in the order in which they were made."""
        rows = self._database.read(lambda connection: connection.execute(self._select()).all())
        return [NamedFilter(row.name, row.arn, row.expression, row.created_at_us) for row in rows]

    def expressions(self) -> Mapping[str, str]:
        """Return the expression of every filter, by name."""
        return {named.name: named.expression for named in self.all()}

    def _select(self) -> Select[tuple[str, str, str, int]]:
        columns = filters.c
        return (
            select(columns.name, columns.arn, columns.expression, columns.created_at_us)
            .where(filters.c.dataset_group == self._dataset_group)
            .order_by(filters.c.filter_num)
        )


_COLUMNS = ("name", "arn", "expression", "created_at_us")


def _row(named: NamedFilter) -> tuple[str, str, str, int]:
    return (named.name, named.arn, named.expression, named.created_at_us)
