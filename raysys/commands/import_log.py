"""`raysys import`: read logs into a checked, sharded dataset."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.layouts import layouts_told
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.errors import ConfigError
from raysys.logs.layout import Layout
from raysys.logs.manifest import DatasetManifest, ImportMode
from raysys.logs.movielens import fetch_movielens_100k
from raysys.logs.movielens_files import find_movielens
from raysys.logs.queries import SqlQuery
from raysys.logs.schema import Kind
from raysys.logs.sources import Given


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Import and report every row."""
    interactions, items, users = _sources(arguments, console)
    given = {Kind.INTERACTIONS: interactions, Kind.ITEMS: items, Kind.USERS: users}
    tables = {kind for kind, table in given.items() if table is not None}
    layouts = layouts_told(arguments, tables=tables)
    shown = {"dataset": arguments.to, "dataset_group": arguments.dataset_group}
    with ray_cluster(console, metadata={"command": "import", **shown}):
        result = import_and_report(
            interactions,
            arguments.to,
            console,
            items=items,
            users=users,
            layouts=layouts,
            mode=ImportMode(arguments.mode.upper()),
            num_shards=arguments.shards,
            dataset_group=arguments.dataset_group,
        )
        counts = ("rows_accepted", "rows_quarantined", "rows_duplicate", "users", "items")
        job_page.add({name: result[name] for name in counts})
    return result


def _sources(
    arguments: argparse.Namespace, console: Console
) -> tuple[Sequence[Given], Given | None, Given | None]:
    """Return what the arguments name: interactions, and tables of items and of users."""
    items, users = _tables(arguments)
    if arguments.interactions:
        return arguments.interactions, items, users
    if arguments.query:
        return [_query(arguments.sql, arguments.query)], items, users
    if items is not None or users is not None:
        raise ConfigError("MovieLens brings its own --items and --users; leave yours out.")
    if arguments.movielens_100k:
        files = fetch_movielens_100k(arguments.cache)
        console.say(f"  {files.name}, checked by hash, in {arguments.cache}")
    else:
        files = find_movielens(arguments.movielens)
        console.say(f"  {files.name}")
    return [files.interactions], files.items, files.users


def _tables(arguments: argparse.Namespace) -> tuple[Given | None, Given | None]:
    """Return the tables of items and of users, each a file, a query or nothing."""
    found: list[Given | None] = []
    for name in ("items", "users"):
        file, query = getattr(arguments, name), getattr(arguments, f"{name}_query")
        if file is not None and query is not None:
            raise ConfigError(f"Give --{name} or --{name}-query, not both.")
        found.append(file if query is None else _query(arguments.sql, query))
    return found[0], found[1]


def _query(url: str | None, query: str) -> SqlQuery:
    from raysys.logs.sql import sql_query  # SQLAlchemy, which other imports do not need

    if url is None:
        raise ConfigError("A query needs a database: give --sql URL as well.")
    return sql_query(url, query)


def import_and_report(
    interactions: Sequence[Given],
    destination: Path,
    console: Console,
    *,
    items: Given | None = None,
    users: Given | None = None,
    layouts: Sequence[Layout] = (),
    mode: ImportMode = ImportMode.FULL,
    num_shards: int | None = None,
    dataset_group: str = DEFAULT_DATASET_GROUP,
) -> dict[str, Any]:
    """Import on the Ray that runs, show a bar and the counts, return them for the JSON line."""
    from raysys.logs.importing import import_log

    started = time.perf_counter()
    with console.progress("importing rows") as advance:
        manifest = import_log(
            interactions,
            destination,
            items=items,
            users=users,
            layouts=layouts,
            mode=mode,
            num_shards=num_shards,
            dataset_group=dataset_group,
            on_progress=advance,
        )
    seconds = time.perf_counter() - started
    _show(manifest, destination, seconds, console)
    record = manifest.imports[-1]
    return {
        "dataset": str(destination),
        "dataset_group": manifest.dataset_group,
        "import_id": manifest.import_id,
        "mode": record.mode.lower(),
        "changed": manifest.import_id == record.import_id,
        "rows_in": record.rows_in,
        "rows_accepted": record.rows_accepted,
        "rows_quarantined": record.rows_quarantined,
        "rows_duplicate": record.rows_duplicate,
        "rows_suppressed": record.rows_suppressed,
        "quarantined_by_reason": record.quarantined_by_reason,
        "rows_in_dataset": manifest.rows_accepted,
        "impressions": manifest.impressions.model_dump(),
        "notices": manifest.notices,
        "users": manifest.num_users,
        "items": manifest.num_items,
        "seconds": round(seconds, 3),
    }


def _show(manifest: DatasetManifest, destination: Path, seconds: float, console: Console) -> None:
    record = manifest.imports[-1]
    suppressed = f", {record.rows_suppressed:,} suppressed" if record.rows_suppressed else ""
    console.say(
        f"  {record.rows_in:,} rows in {seconds:.1f} s: {record.rows_accepted:,} accepted, "
        f"{record.rows_quarantined:,} quarantined, {record.rows_duplicate:,} duplicates{suppressed}"
    )
    if manifest.import_id != record.import_id:
        console.say(f"  nothing of it is new: {destination} holds what it held before")
    console.say(
        f"  {manifest.rows_accepted:,} rows of {manifest.num_users:,} users, "
        f"{manifest.num_items:,} items in {destination}"
    )
    if manifest.impressions.rows:
        console.say(
            f"  {manifest.impressions.rows:,} of these rows say which items were shown: "
            f"{manifest.impressions.items:,} in all"
        )
    for reason, count in sorted(record.quarantined_by_reason.items()):
        console.say(f"    quarantined as {reason}: {count:,}")
    for notice in manifest.notices:
        console.say(f"  note: {notice}", style="yellow")
