"""`raysys release`: make a release without training: another index, or a search's best trial."""

import argparse
import time
from pathlib import Path
from typing import Any

from raysys.commands import job_page
from raysys.commands.building import build_release, reindexed, trained_before
from raysys.commands.console import Console
from raysys.commands.material import Material
from raysys.commands.train import show_index, show_on_job_page, show_report
from raysys.config import IndexConfig, PipelineConfig, parse_config
from raysys.errors import DatasetError, ReleaseNotFoundError, TrainingError
from raysys.evaluation.report import Report
from raysys.release import Release, open_release
from raysys.training.search_files import SearchFiles, best_of
from raysys.training.space import with_hyperparameters


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Publish and verify; the JSON line has the release."""
    started = time.perf_counter()
    files = SearchFiles(arguments.source.absolute())
    if files.exists():
        release, report = release_of_search(
            files,
            arguments.releases,
            console,
            factory=arguments.index,
            num_partitions=arguments.partitions,
        )
        show_report(report, console)
        show_on_job_page(release, report)
    else:
        release = _reindexed(arguments, console)
        job_page.add({"release": release.name})
    release.verify()
    console.say(f"  release {release.name} in {arguments.releases}")
    show_index(release, console)
    manifest = release.manifest
    return {
        "release": str(release.path),
        "name": release.name,
        "recipe": manifest.recipe,
        "index": manifest.index_factory,
        "partitions": manifest.num_partitions,
        "metrics": manifest.metrics,
        "seconds": round(time.perf_counter() - started, 3),
    }


def release_of_search(
    files: SearchFiles,
    releases: Path,
    console: Console,
    *,
    factory: str | None = None,
    num_partitions: int | None = None,
) -> tuple[Release, Report]:
    """Publish the best trial of a search so far. Nothing is learnt; the test part is opened now.

    Args:
        factory, num_partitions: of the index; None: as the search's settings say.

    Raises:
        SourceError: there is no search.
        DatasetError: its dataset is not there any more, or was imported again.
        TrainingError: no trial has learnt anything yet.
    """
    search, trials = files.search(), files.trials()
    best = best_of(trials)
    if best is None:
        raise TrainingError(
            f"The search in {files.directory} has no trial that learnt for an epoch, so there is "
            f"nothing to publish. Let it run for longer: the same `raysys tune` goes on with it."
        )
    config = parse_config(search["config"], PipelineConfig, source=str(files.directory))
    material = Material.of(Path(search["dataset"]), config)
    if material.dataset.manifest.import_id != search["import_id"]:
        raise DatasetError(
            f"Dataset {material.dataset.path} holds import {material.dataset.manifest.import_id}, "
            f"but the search in {files.directory} was made on {search['import_id']}: item numbers "
            f"would point at the wrong items. Search again, in another directory."
        )
    config = with_hyperparameters(config, best.hyperparameters)
    index = _index(config.index, factory, num_partitions)
    return build_release(
        material,
        releases,
        config.model_copy(update={"index": index}),
        recipe=search["recipe"],
        write_model=trained_before(files.trial(best.number).best_model()),
        console=console,
        lineage={
            "search": {
                "metric": search["metric"],
                "space": search["space"],
                "seed": search["seed"],
                "best": best.number,
                "epochs": sum(len(trial.values) for trial in trials),
                "trials": [trial.to_json() for trial in trials],
            }
        },
    )


def _reindexed(arguments: argparse.Namespace, console: Console) -> Release:
    try:
        source = open_release(arguments.source)
    except ReleaseNotFoundError as error:
        raise ReleaseNotFoundError(
            f"{arguments.source} is neither a release nor the directory of a search, so no release "
            f"can be made from it. Name one that `raysys train` or `raysys tune` wrote."
        ) from error
    console.say(f"  the weights of {source.name}, indexed anew")
    index = _index(source.settings().index, arguments.index, arguments.partitions)
    return reindexed(source, arguments.releases, index)


def _index(config: IndexConfig, factory: str | None, num_partitions: int | None) -> IndexConfig:
    changed = config.model_dump()
    if factory is not None:
        changed["factory"] = factory
    if num_partitions is not None:
        changed["num_partitions"] = num_partitions
    return parse_config(changed, IndexConfig, source="--index or --partitions")
