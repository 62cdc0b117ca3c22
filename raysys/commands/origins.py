"""What the arguments of `import` and `schema` name: a log, and tables of items and of users."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysys.commands.console import Console
from raysys.errors import ConfigError
from raysys.logs.movielens import fetch_movielens_100k
from raysys.logs.movielens_files import find_movielens
from raysys.logs.queries import SqlQuery
from raysys.logs.schema import Kind
from raysys.logs.sources import Given


@dataclass(frozen=True, slots=True)
class Origins:
    """Where each table is; the tables of items and of users may be missing."""

    interactions: Sequence[Given]
    items: Given | None
    users: Given | None

    @property
    def tables(self) -> Mapping[Kind, Given]:
        """The tables of items and of users that are there."""
        found = {Kind.ITEMS: self.items, Kind.USERS: self.users}
        return {kind: table for kind, table in found.items() if table is not None}


def origins_told(arguments: argparse.Namespace, console: Console) -> Origins:
    """Return what is named; MovieLens-100K is fetched if need be.

    Raises:
        ConfigError: the arguments contradict each other.
        SourceError: MovieLens is not there.
    """
    items, users = (_table(arguments, kind) for kind in (Kind.ITEMS, Kind.USERS))
    if arguments.interactions:
        return Origins(arguments.interactions, items, users)
    if arguments.query:
        return Origins([_query(arguments.sql, arguments.query)], items, users)
    if items is not None or users is not None:
        raise ConfigError("MovieLens brings its own --items and --users; leave yours out.")
    if arguments.movielens_100k:
        files = fetch_movielens_100k(arguments.cache)
        console.say(f"  {files.name}, checked by hash, in {arguments.cache}")
    else:
        files = find_movielens(arguments.movielens)
        console.say(f"  {files.name}")
    return Origins([files.interactions], files.items, files.users)


def _table(arguments: argparse.Namespace, kind: Kind) -> Given | None:
    file, query = getattr(arguments, kind), getattr(arguments, f"{kind}_query")
    if file is not None and query is not None:
        raise ConfigError(f"Give --{kind} or --{kind}-query, not both.")
    return file if query is None else _query(arguments.sql, query)


def _query(url: str | None, query: str) -> SqlQuery:
    from raysys.logs.sql import sql_query  # SQLAlchemy, which other imports do not need

    if url is None:
        raise ConfigError("A query needs a database: give --sql URL as well.")
    return sql_query(url, query)
