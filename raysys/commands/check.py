"""`raysys check`: say whether a dataset is fit to be trained on, and what is wrong with it."""

import argparse
import importlib.util
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape

from raysys import storage
from raysys.commands import job_page
from raysys.commands.check_page import check_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.dataset.checks import check
from raysys.dataset.dataset import open_dataset
from raysys.dataset.findings import Finding, Verdict, verdict_of
from raysys.dataset.measuring import measure
from raysys.dataset.statistics import Statistics
from raysys.dataset.summary import summary
from raysys.errors import ConfigError
from raysys.logs.calls import run_calls

EXIT_FAIL = 3
"""Not 1, which says that the dataset could not be checked at all."""

_STYLES = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Read every row, show every finding; the JSON line has them and the figures behind them."""
    started = time.perf_counter()
    if arguments.html is not None:
        _check_page_can_be_written(arguments.html)
    dataset = open_dataset(arguments.dataset)
    dataset.check_dataset_group(arguments.dataset_group)
    shown = {"dataset": arguments.dataset, "dataset_group": dataset.manifest.dataset_group}
    with ray_cluster(console, metadata={"command": "check", **shown}):
        with console.progress("reading rows") as advance:
            statistics = measure(dataset, run_calls, on_progress=advance)
        findings = check(statistics)
        verdict = verdict_of(findings)
        job_page.add({"verdict": verdict})
    _show(findings, verdict, console)
    if arguments.html is not None:
        _write_page(arguments.html, arguments.dataset, statistics, findings)
        console.say(f"  with plots: {arguments.html}")
    is_refused = verdict is Verdict.FAIL or (arguments.strict and verdict is Verdict.WARN)
    return {
        "dataset": str(arguments.dataset),
        "import_id": dataset.manifest.import_id,
        "verdict": str(verdict),
        "exit_code": EXIT_FAIL if is_refused else 0,
        "checks": [finding.to_json() for finding in findings],
        "statistics": summary(statistics),
        "html": None if arguments.html is None else str(arguments.html),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _check_page_can_be_written(path: Path) -> None:
    """Raise ConfigError for what would go wrong at the end, before the dataset is read."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "--html draws plots with matplotlib, which is not installed here. Install it with "
            "`pip install 'raysys[report]'`, or leave --html out."
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a directory" if path.is_dir() else "lies in a directory that does not exist"
        raise ConfigError(f"--html {path} {what}. Name a file, in a directory that is there.")


def _write_page(path: Path, dataset: Path, statistics: Statistics, findings: list[Finding]) -> None:
    name = dataset.resolve().name
    try:
        storage.write_text(path, check_page(name, statistics, findings, datetime.now(UTC)))
    except OSError as error:
        raise ConfigError(f"--html {path} cannot be written: {error}") from error


def _show(findings: list[Finding], verdict: Verdict, console: Console) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        style = _STYLES[finding.verdict]
        line = f"{finding.check:{width}}  {finding.found}"
        console.say(f"  [{style}]{finding.verdict}[/{style}]  {escape(line)}", markup=True)
        if finding.hint:
            console.say(f"  {'':{width + 6}}  [dim]{escape(finding.hint)}[/dim]", markup=True)
    counts = [
        f"{sum(finding.verdict is one for finding in findings)} {one}" for one in reversed(Verdict)
    ]
    console.say(
        f"\n  [{_STYLES[verdict]}]{verdict}[/{_STYLES[verdict]}]: {', '.join(counts)}", markup=True
    )
