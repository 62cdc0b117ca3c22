"""`raysys evaluate`: measure a release's model against the baselines on a dataset."""

import argparse
from functools import partial
from typing import Any

from raysys.commands.console import Console
from raysys.commands.measuring import measure, parts_of
from raysys.commands.released_model import ReleasedModel, embedding_retriever
from raysys.commands.train import show_on_job_page, show_report
from raysys.dataset.dataset import open_dataset
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
    release.check_trained_on(dataset.path, dataset.manifest.import_id)
    histories = dataset.histories(model.items, config.feedback, model.event_types, model.context)
    if isinstance(model.model, Counted):  # it was released with what is to be found counted too
        recount(model.model, parts_of(histories, config).train)
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
