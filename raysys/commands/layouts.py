"""The schemas and column names that a command's arguments tell, for each kind of table."""

import argparse
from typing import Any

from raysys.errors import ConfigError
from raysys.logs.avro import read_schema
from raysys.logs.layout import NAMING_OPTIONS, Layout, declared, parse_called, undeclared
from raysys.logs.schema import Kind

SCHEMA_OPTIONS = {
    Kind.INTERACTIONS: "--schema",
    Kind.ITEMS: "--items-schema",
    Kind.USERS: "--users-schema",
}


def layouts_told(arguments: argparse.Namespace, *, tables: set[Kind]) -> list[Layout]:
    """Return the layout of each table of which something is told.

    Args:
        tables: the kinds of tables that are there.

    Raises:
        SchemaError: a schema cannot be read, or breaks a rule.
        ConfigError: something is told of a table that is not there, or of an unknown column.
    """
    found = []
    for kind, schema_option in SCHEMA_OPTIONS.items():
        path = _given(arguments, schema_option)
        called = names_told(arguments, kind)
        if path is None and not called:
            continue
        if kind not in tables:
            told = NAMING_OPTIONS[kind] if path is None else schema_option
            raise ConfigError(
                f"{told} tells of a table of {kind}, but none is given: add --{kind}."
            )
        if path is None:
            found.append(undeclared(kind, called))
        else:
            found.append(declared(read_schema(path, kind), called))
    return found


def names_told(arguments: argparse.Namespace, kind: Kind) -> dict[str, str]:
    """Return what the arguments say columns of a table are called (ConfigError)."""
    option = NAMING_OPTIONS[kind]
    return parse_called(_given(arguments, option), option)


def _given(arguments: argparse.Namespace, option: str) -> Any:
    return getattr(arguments, option.removeprefix("--").replace("-", "_"))
