"""A query to a database as something to import: `raysys.logs.sql` makes and fetches it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """One query to one database. `raysys.logs.sql.sql_query` makes it, and checks what it can.

    Attributes:
        name: fit for messages and manifests: database and query, without user and password.
        url: as SQLAlchemy writes it, password included.
    """

    name: str
    url: str = field(repr=False)
    query: str
