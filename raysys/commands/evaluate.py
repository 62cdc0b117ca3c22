"""`raysys evaluate`: measure a release's model against the baselines on a dataset."""

import argparse
from functools import partial
from typing import Any

from raysys.commands.console import Console
from raysys.commands.measuring import measure
from raysys.commands.released_model import ReleasedModel, embedding_retriever
from raysys.commands.train import show_on_job_page, show_report
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import SplitBlocks
from raysys.errors import ReleaseMismatchError
from raysys.models.counted import Counted
from raysys.release import open_release
from raysys.training.counting import recount


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Split the dataset as the release's training did, and rank the test part."""
    release = open_release(arguments.release)
    release.check_dataset_group(arguments.dataset_group)
    model = ReleasedModel(release)
    config = release.settings()
    dataset = open_dataset(arguments.dataset)
    trained_on = release.manifest.lineage.get("import_id")
    if dataset.manifest.import_id != trained_on:
        raise ReleaseMismatchError(
            f"Release {release.name} was trained on import {trained_on}, but {arguments.dataset} "
            f"holds import {dataset.manifest.import_id}. Its test part may have been trained on, "
            f"so the figures would flatter. Name the dataset that the release was trained on."
        )
    histories = dataset.histories(model.items, config.feedback, model.event_types, model.context)
    if isinstance(model.model, Counted):  # it was released with what is to be found counted too
        has_validation = not config.training.refit
        parts = SplitBlocks.of(histories, config.split, has_validation=has_validation)
        recount(model.model, parts.train)
    with console.progress("evaluating") as advance:
        report = measure(
            partial(embedding_retriever, model.model, model.users),
            model.release.manifest.model_kind,
            histories,
            len(model.items),
            config,
            advance,
        )
    show_report(report, console)
    show_on_job_page(release, report, dataset=arguments.dataset)
    return {"release": release.name, "evaluation": report.to_json()}
