"""`raysys simulate`: write the log of a world whose truth is known."""

import argparse
import time
from typing import Any

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.logs.calls import run_calls
from raysys.logs.simulator import Simulator
from raysys.logs.simulator.writing import WrittenLog, check_log_destination, write_log


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write the log; the JSON line has its files and counts."""
    simulator = _simulator(arguments)
    check_log_destination(arguments.to)  # before Ray is started for nothing
    shown = {"world": arguments.world, "seed": arguments.seed, "log": arguments.to}
    with ray_cluster(console, metadata={"command": "simulate", **shown}):
        started = time.perf_counter()
        with console.progress("simulating rows") as advance:
            written = write_log(
                simulator,
                arguments.to,
                num_files=arguments.files,
                file_format=arguments.format,
                on_progress=advance,
                run=run_calls,
            )
        seconds = time.perf_counter() - started
        result = _result(simulator, arguments, written)
        job_page.add({name: result[name] for name in ("rows", "users", "items")})
    console.say(
        f"  {written.num_rows:,} rows of {simulator.world.num_users:,} users and "
        f"{simulator.world.num_items:,} items in {seconds:.1f} s: {written.num_bytes:,} bytes in "
        f"{arguments.to}"
    )
    files = written.files
    console.verbatim(
        f"  next: raysys import --interactions {files.interactions} --items {files.items} "
        f"--users {files.users} --to DATASET"
    )
    return {**result, "seconds": round(seconds, 3)}


def _simulator(arguments: argparse.Namespace) -> Simulator:
    given = {
        "num_users": arguments.users,
        "num_items": arguments.items,
        "mean_history": arguments.mean_history,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if arguments.rows is None:
        return Simulator(arguments.world, seed=arguments.seed, **changes)
    return Simulator.of_about(arguments.rows, arguments.world, seed=arguments.seed, **changes)


def _result(
    simulator: Simulator, arguments: argparse.Namespace, written: WrittenLog
) -> dict[str, Any]:
    return {
        "world": arguments.world,
        "seed": simulator.seed,
        "interactions": str(written.files.interactions),
        "items_file": str(written.files.items),
        "users_file": str(written.files.users),
        "files": written.num_files,
        "rows": written.num_rows,
        "users": simulator.world.num_users,
        "items": simulator.world.num_items,
        "bytes": written.num_bytes,
    }
