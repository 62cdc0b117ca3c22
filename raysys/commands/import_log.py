"""`raysys import`: read logs into a checked, sharded dataset."""

import argparse
import time
from pathlib import Path
from typing import Any

from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.logs.manifest import DatasetManifest


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Import and report every row."""
    with ray_cluster(console):
        return import_and_report(
            arguments.interactions,
            arguments.to,
            console,
            items=arguments.items,
            users=arguments.users,
            num_shards=arguments.shards,
        )


def import_and_report(
    interactions: list[Path],
    destination: Path,
    console: Console,
    *,
    items: Path | None = None,
    users: Path | None = None,
    num_shards: int = 8,
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
            num_shards=num_shards,
            on_progress=advance,
        )
    seconds = time.perf_counter() - started
    _show(manifest, destination, seconds, console)
    return {
        "dataset": str(destination),
        "import_id": manifest.import_id,
        "rows_in": manifest.rows_in,
        "rows_accepted": manifest.rows_accepted,
        "rows_quarantined": manifest.rows_quarantined,
        "rows_duplicate": manifest.rows_duplicate,
        "quarantined_by_reason": manifest.quarantined_by_reason,
        "notices": manifest.notices,
        "users": manifest.num_users,
        "items": manifest.num_items,
        "seconds": round(seconds, 3),
    }


def _show(manifest: DatasetManifest, destination: Path, seconds: float, console: Console) -> None:
    console.say(
        f"  {manifest.rows_in:,} rows in {seconds:.1f} s: {manifest.rows_accepted:,} accepted, "
        f"{manifest.rows_quarantined:,} quarantined, {manifest.rows_duplicate:,} duplicates"
    )
    console.say(f"  {manifest.num_users:,} users, {manifest.num_items:,} items in {destination}")
    for reason, count in sorted(manifest.quarantined_by_reason.items()):
        console.say(f"    quarantined as {reason}: {count:,}")
    for notice in manifest.notices:
        console.say(f"  note: {notice}", style="yellow")
