"""`raysys off-policy`: what another exploration weight would have earned on the logged traffic."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from raysys.commands import job_page
from raysys.commands.console import Advance, Console
from raysys.errors import ConfigError, DatasetError
from raysys.evaluation.off_policy_log import COLUMNS, AnswerReader
from raysys.evaluation.off_policy_report import judged, to_table
from raysys.evaluation.off_policy_totals import WeightTotals
from raysys.logs.event_export import IMPRESSIONS_FILE, impressions_of
from raysys.parquet_file import read_batches, read_schema
from raysys.policy.policies import EPSILON_GREEDY
from raysys.state.store import StateStore

_RELEASES_NAMED = 5


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Judge each weight; the JSON line has all estimates, and exit code 3 if all are refused."""
    weights = list(dict.fromkeys(arguments.exploration_weight))
    _check(weights, arguments.places)
    reader = AnswerReader(arguments.release)
    draws_alike = arguments.policy == EPSILON_GREEDY
    totals = [WeightTotals(weight, draws_alike) for weight in weights]
    with console.progress("reading answers") as advance:
        for answers in reader.read(_impressions(arguments, advance)):
            for each in totals:
                each.add(answers)
    if not sum(reader.releases.values()):
        raise DatasetError(
            "The log holds no answer to a user, so nothing can be said of another weight. Name the "
            "database or the export of a server with `record: true`."
        )
    if arguments.release is not None and arguments.release not in reader.releases:
        raise ConfigError(_stranger(arguments.release, reader.releases))
    judgements = [judged(each, arguments.places) for each in totals]
    if any(judgement.estimate for judgement in judgements):
        console.say(to_table(judgements))
    for judgement in judgements:
        if judgement.refusal is not None:
            console.say(f"  {judgement.refusal}")
    counts = reader.counts
    console.say(
        f"  {counts.answers:,} answers were read; {counts.without_user:,} of similar items and "
        f"{counts.of_other_releases:,} of other releases are left out"
    )
    result = {
        "answers": counts.answers,
        "answers_without_user": counts.without_user,
        "answers_of_other_releases": counts.of_other_releases,
        "releases": reader.releases,
        "weights": [judgement.to_json() for judgement in judgements],
        "exit_code": 0 if any(judgement.estimate for judgement in judgements) else 3,
    }
    job_page.add({"answers": counts.answers, "weights": weights})
    return result


def _check(weights: list[float], num_places: int | None) -> None:
    outside = [weight for weight in weights if not 0 <= weight <= 1]
    if outside:
        raise ConfigError(f"--exploration-weight is a chance, in [0, 1], but got {outside[0]:g}.")
    if num_places is not None and num_places < 1:
        raise ConfigError(f"--places must be at least 1, but got {num_places}.")


def _impressions(arguments: argparse.Namespace, advance: Advance) -> Iterator[pa.Table]:
    if arguments.impressions is not None:
        return _of_file(arguments.impressions, advance)
    return _of_database(arguments.database, arguments.dataset_group, advance)


def _of_file(path: Path, advance: Advance) -> Iterator[pa.Table]:
    if path.is_dir():
        path = path / IMPRESSIONS_FILE
    missing = {*COLUMNS} - {*read_schema(path).names}
    if missing:
        raise DatasetError(
            f"{path} has no column {min(missing)!r}, which tells how items came to their places. "
            f"Export the database again with this raysys; what an older one has stored stays "
            f"unknown."
        )
    done = 0
    for table in read_batches(path, COLUMNS):
        yield table
        done += table.num_rows
        advance(done)


def _of_database(url: str, dataset_group: str, advance: Advance) -> Iterator[pa.Table]:
    store = StateStore(url, dataset_group, must_exist=True)
    try:
        end = store.log.end()
        for slates in store.log.slates(end):
            yield impressions_of(slates)
            advance(slates[-1].slate_num, end.slate_num)
    finally:
        store.close()


def _stranger(release: str, releases: dict[str, int]) -> str:
    named = sorted(releases, key=lambda name: -releases[name])[:_RELEASES_NAMED]
    there = ", ".join(f"{name} ({releases[name]:,})" for name in named)
    return (
        f"The log has no answer of release {release!r}; it has those of {there}. What another "
        f"release would have earned cannot be told from them: it puts items first that the log had "
        f"no chance to show there, since exploration draws among fresh items only. Give the "
        f"release a share of a campaign's users (docs/serving.md) and compare the two afterwards."
    )
