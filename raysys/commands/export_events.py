"""`raysys export-events`: write what clients sent and what they were shown as files."""

import argparse
import dataclasses
import time
from typing import Any

from raysys.commands import job_page
from raysys.commands.console import Console
from raysys.logs.event_export import (
    IMPRESSIONS_FILE,
    INTERACTIONS_FILE,
    check_export_destination,
    export_log,
)
from raysys.logs.put_export import ITEMS_FILE, USERS_FILE
from raysys.state.store import StateStore


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Export; the JSON line has the counts."""
    check_export_destination(arguments.to)  # before a database is migrated for nothing
    started = time.perf_counter()
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=True)
    try:
        with console.progress("exporting") as advance:
            report = export_log(
                store.log,
                arguments.to,
                items=store.changed_items(0).items,
                on_progress=advance,
            )
    finally:
        store.close()
    console.say(
        f"  {report.interactions:,} interactions in {arguments.to / INTERACTIONS_FILE}, up to "
        f"event {report.last_event_num}"
    )
    if report.events_without_item:
        console.say(f"  {report.events_without_item:,} events name no item and stay behind")
    console.say(
        f"  {report.impressions:,} impressions of {report.slates:,} slates in "
        f"{arguments.to / IMPRESSIONS_FILE}: {report.explored:,} explored, "
        f"{report.clicked:,} clicked"
    )
    if report.items:
        console.say(f"  {report.items:,} items that were put in {arguments.to / ITEMS_FILE}")
    if report.users:
        console.say(f"  {report.users:,} users that were put in {arguments.to / USERS_FILE}")
    result = {
        "directory": str(arguments.to),
        "dataset_group": arguments.dataset_group,
        **dataclasses.asdict(report),
    }
    job_page.add(result)
    return {**result, "seconds": round(time.perf_counter() - started, 3)}
