"""`raysys import`: read logs into a checked, sharded dataset."""

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.layouts import layouts_told
from raysys.commands.origins import origins_told
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.errors import ConfigError
from raysys.logs.calls import run_calls
from raysys.logs.layout import Layout
from raysys.logs.manifest import DatasetManifest, ImportMode
from raysys.logs.reasons import Reason
from raysys.logs.schema import Kind
from raysys.logs.sources import Given

if TYPE_CHECKING:
    from raysys.state.store import StateStore

_COUNTS = ("rows_accepted", "rows_quarantined", "rows_duplicate", "users", "items")
_OF_LOGS = (
    *("items", "users", "items_query", "users_query", "sql"),
    *("schema", "items_schema", "users_schema", "column", "item_column", "user_column"),
)


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Import and report every row."""
    if arguments.events is not None:
        return _run_events(arguments, console)
    origins = origins_told(arguments, console)
    layouts = layouts_told(arguments, tables={Kind.INTERACTIONS, *origins.tables})
    shown = {"dataset": arguments.to, "dataset_group": arguments.dataset_group}
    with ray_cluster(console, metadata={"command": "import", **shown}):
        result = import_and_report(
            origins.interactions,
            arguments.to,
            console,
            items=origins.items,
            users=origins.users,
            layouts=layouts,
            mode=ImportMode((arguments.mode or ImportMode.FULL).upper()),
            num_shards=arguments.shards,
            dataset_group=arguments.dataset_group,
        )
        job_page.add({name: result[name] for name in _COUNTS})
    return result


def _run_events(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Import what clients sent and put, as far as the dataset has it not."""
    from raysys.state.store import StateStore  # SQLAlchemy, which other imports do not need

    _check_alone(arguments)
    store = StateStore(arguments.events, arguments.dataset_group, must_exist=True)
    shown = {"dataset": arguments.to, "dataset_group": arguments.dataset_group}
    with (
        contextlib.closing(store),
        ray_cluster(console, metadata={"command": "import", **shown}),
    ):
        result = import_events_and_report(store, arguments.to, console, num_shards=arguments.shards)
        job_page.add({name: result[name] for name in _COUNTS if name in result})
    return result


def _check_alone(arguments: argparse.Namespace) -> None:
    """Refuse what would change what the columns mean, or what is there."""
    given = [name for name in _OF_LOGS if getattr(arguments, name)]
    if given or arguments.mode == "full":
        name = f"--{given[0].replace('_', '-')}" if given else "--mode full"
        raise ConfigError(
            f"--events adds what the database of a server holds, events, items and users, to a "
            f"dataset, and {name} says something else. Import other logs and tables apart."
        )


def import_events_and_report(
    store: "StateStore", destination: Path, console: Console, *, num_shards: int | None = None
) -> dict[str, Any]:
    """Import on the Ray that runs what is new in a database, and report it as any import."""
    from raysys.logs.event_intake import import_events

    started = time.perf_counter()
    with console.progress("importing rows") as advance:
        manifest = import_events(
            store, destination, run=run_calls, num_shards=num_shards, on_progress=advance
        )
    if manifest is None:
        console.say(f"  {destination} has all that clients sent and put")
        return {"dataset": str(destination), "changed": False}
    return _reported(manifest, destination, time.perf_counter() - started, console)


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
    return _reported(manifest, destination, time.perf_counter() - started, console)


def _reported(
    manifest: DatasetManifest, destination: Path, seconds: float, console: Console
) -> dict[str, Any]:
    table_rows = _table_rows(manifest, destination)
    _show(manifest, destination, table_rows, seconds, console)
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
        "table_rows": table_rows,
        "seconds": round(seconds, 3),
    }


def _table_rows(manifest: DatasetManifest, destination: Path) -> dict[str, int]:
    """Return how many rows the tables of items and users have, of those that there are."""
    files = {"items": manifest.items_file, "users": manifest.users_file}
    return {
        name: pq.read_metadata(destination / file).num_rows
        for name, file in files.items()
        if file is not None
    }


def _show(
    manifest: DatasetManifest,
    destination: Path,
    table_rows: Mapping[str, int],
    seconds: float,
    console: Console,
) -> None:
    record = manifest.imports[-1]
    suppressed = f", {record.rows_suppressed:,} suppressed" if record.rows_suppressed else ""
    console.say(
        f"  {record.rows_in:,} rows in {seconds:.1f} s: {record.rows_accepted:,} accepted, "
        f"{record.rows_quarantined:,} quarantined, {record.rows_duplicate:,} duplicates{suppressed}"
    )
    for reason, count in sorted(record.quarantined_by_reason.items()):
        console.say(f"    {count:,} {reason}: {Reason(reason).sentence}")
    if record.rows_quarantined:
        folder = destination / record.import_id / "quarantine"
        console.say(f"  what was quarantined, with file, row and reason: {folder}/*.parquet")
    if manifest.import_id != record.import_id:
        console.say(f"  nothing of it is new: {destination} holds what it held before")
    if record.mode is ImportMode.INCREMENTAL and len(manifest.imports) == 1:
        console.say("  note: there was no dataset to add to; this one is new", style="yellow")
    console.say(
        f"  {manifest.rows_accepted:,} rows of {manifest.num_users:,} users, "
        f"{manifest.num_items:,} items in {destination}"
    )
    for name, rows in table_rows.items():
        console.say(f"  {rows:,} rows in the table of {name}")
    if manifest.impressions.rows:
        console.say(
            f"  {manifest.impressions.rows:,} of these rows say which items were shown: "
            f"{manifest.impressions.items:,} in all"
        )
    for notice in manifest.notices:
        console.say(f"  note: {notice}", style="yellow")
