"""`raysys filter`: create, list and delete the filters that requests may name."""

import argparse
import contextlib
import dataclasses
import re
import time
from pathlib import Path
from typing import Any

from raysys.commands.console import Console
from raysys.config import check_dataset_group_name
from raysys.dataset.item_table import open_item_table
from raysys.errors import ConfigError
from raysys.filters.expression import Expression
from raysys.filters.fields import check_fields
from raysys.filters.grammar import parse_expression
from raysys.filters.masks import Table
from raysys.release import ITEM_TABLE, USER_TABLE, open_release
from raysys.state.filters import FilterTable, NamedFilter
from raysys.state.store import StateStore

# The region and the account mean nothing here; requests may write others.
_ARN = "arn:aws:personalize:us-east-1:000000000000:filter/{name}"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,62}")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do it. Running servers know of it within two seconds."""
    check_dataset_group_name(arguments.dataset_group)
    is_new = arguments.action == "create"
    if is_new:
        named = _named(arguments)  # before a database is made for nothing
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=not is_new)
    with contextlib.closing(store):
        if is_new:
            store.filters.create(named)
            console.say(f"Requests may name the filter {named.name}, or {named.arn}")
            return dataclasses.asdict(named)
        if arguments.action == "list":
            return _list(store.filters, console)
        store.filters.delete(arguments.name)
        console.say(f"The filter {arguments.name} is gone.")
        return {"name": arguments.name}


def _named(arguments: argparse.Namespace) -> NamedFilter:
    """Return the filter as it is stored, once it is known to be one."""
    name, text = arguments.name, arguments.expression
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"A filter's name consists of up to 63 letters, digits, - and _, and begins with a "
            f"letter or digit, so that ARNs can hold it, but got {name!r}."
        )
    expression = parse_expression(text)
    if arguments.release is not None:
        _check_columns(expression, arguments.release)
    return NamedFilter(name, _ARN.format(name=name), text, time.time_ns() // 1000)


def _check_columns(expression: Expression, path: Path) -> None:
    """Raise InvalidInputError for a field of which a release knows nothing."""
    release = open_release(path)
    users = None
    if USER_TABLE in release.manifest.files:
        users = Table(open_item_table(release.file(USER_TABLE)))
    items = Table(open_item_table(release.file(ITEM_TABLE)))
    check_fields(expression, items, users, release=release.name)


def _list(filters: FilterTable, console: Console) -> dict[str, Any]:
    found = filters.all()
    for named in found:
        console.verbatim(f"{named.name}  {named.expression}")
    if not found:
        console.say("There are no filters yet: `raysys filter create NAME EXPRESSION` makes one.")
    return {"filters": [dataclasses.asdict(named) for named in found]}
