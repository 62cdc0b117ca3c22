"""`raysys check`: say whether a dataset is fit to be trained on, and what is wrong with it."""

import argparse
import time
from typing import Any

from rich.markup import escape

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.dataset.checks import check
from raysys.dataset.dataset import open_dataset
from raysys.dataset.findings import Finding, Verdict, verdict_of
from raysys.dataset.measuring import measure
from raysys.dataset.summary import summary
from raysys.logs.calls import run_calls

EXIT_FAIL = 3
"""Not 1, which says that the dataset could not be checked at all."""

_STYLES = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Read every row, show every finding; the JSON line has them and the figures behind them."""
    started = time.perf_counter()
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
    is_refused = verdict is Verdict.FAIL or (arguments.strict and verdict is Verdict.WARN)
    return {
        "dataset": str(arguments.dataset),
        "import_id": dataset.manifest.import_id,
        "verdict": str(verdict),
        "exit_code": EXIT_FAIL if is_refused else 0,
        "checks": [finding.to_json() for finding in findings],
        "statistics": summary(statistics),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _show(findings: list[Finding], verdict: Verdict, console: Console) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        style = _STYLES[finding.verdict]
        line = f"{finding.check:{width}}  {finding.found}"
        console.say(f"  [{style}]{finding.verdict}[/{style}]  {escape(line)}")
        if finding.hint:
            console.say(f"  {'':{width + 6}}  [dim]{escape(finding.hint)}[/dim]")
    counts = [
        f"{sum(finding.verdict is one for finding in findings)} {one}" for one in reversed(Verdict)
    ]
    console.say(f"\n  [{_STYLES[verdict]}]{verdict}[/{_STYLES[verdict]}]: {', '.join(counts)}")
