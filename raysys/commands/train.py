"""`raysys train`: train on a dataset, evaluate, build the index, publish a release."""

import argparse
import re
import time
from pathlib import Path
from typing import Any

import ray
import yaml

from raysys.commands import job_page
from raysys.commands.building import build_release, training_now
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.material import Material
from raysys.config import EnsembleConfig, PipelineConfig, TrainingConfig, load_config
from raysys.dataset.dataset import open_dataset
from raysys.errors import ConfigError
from raysys.evaluation.report import Report
from raysys.index.shard import read_note
from raysys.recipes import recipe_named
from raysys.release import Release
from raysys.training.sufficiency import check_sufficient


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train and publish; the JSON line has the release and its metrics."""
    recipe, config = _settings(arguments)
    dataset = open_dataset(arguments.dataset)
    dataset.check_dataset_group(arguments.dataset_group)
    material = Material.of(arguments.dataset, config)
    check_sufficient(material.histories, config.training)
    shown = {"dataset": arguments.dataset, "dataset_group": dataset.manifest.dataset_group}
    with ray_cluster(console, metadata={"command": "train", "recipe": recipe, **shown}):
        _say_if_busy(config.training, console)
        _, result = train_and_report(
            material,
            arguments.releases,
            config,
            console,
            recipe=recipe,
            checkpoints=arguments.checkpoints,
            tensorboard=arguments.tensorboard,
        )
    return result


def train_and_report(
    material: Material,
    releases: Path,
    config: PipelineConfig,
    console: Console,
    *,
    recipe: str,
    checkpoints: Path | str | None = None,
    tensorboard: Path | None = None,
) -> tuple[Release, dict[str, Any]]:
    """Build a release on the Ray that runs, print its report, return it with the JSON line.

    Args:
        checkpoints, tensorboard: see `training_now`.
    """
    started = time.perf_counter()
    release, report = build_release(
        material,
        releases,
        config,
        recipe=recipe,
        write_model=training_now(config, console, checkpoints=checkpoints, tensorboard=tensorboard),
        console=console,
    )
    show_published(release, report, releases, console)
    result = {
        "release": str(release.path),
        "name": release.name,
        "recipe": recipe,
        "evaluation": report.to_json(),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return release, result


def show_on_job_page(release: Release, report: Report, **more: Any) -> None:
    """Show on the dashboard's job page which release this job made or measured, and how good."""
    values = report.evaluations[release.manifest.model_kind].means()
    job_page.add({"release": release.name, report.metric: values[report.metric], **more})


def show_published(
    release: Release, report: Report, releases: Path, console: Console, **more: Any
) -> None:
    """Print how good a new release is and where it lies, and show it on the job page."""
    show_report(report, console)
    console.say(f"  release {release.name} in {releases}")
    show_index(release, console)
    show_on_job_page(release, report, **more)


def show_index(release: Release, console: Console) -> None:
    """Print which kind of index a release has, how well it finds, and why it is this one; and how
    many items of the item table are not in it."""
    note = read_note(release)
    console.say(f"  index {note.summary()}\n    {note.why}")
    number = release.manifest.lineage.get("items_without_interactions", 0)
    if number:
        console.say(
            f"  {number} {'item' if number == 1 else 'items'} of the item table, with which nobody "
            f"interacted, {'is' if number == 1 else 'are'} not in it: `raysys items put` lets "
            f"lists have them.",
            style="yellow",
        )


def show_report(report: Report, console: Console) -> None:
    """Print an evaluation's table."""
    console.say(report.to_table())


def _say_if_busy(training: TrainingConfig, console: Console) -> None:
    """Say why training will wait, where others use the CPUs that its workers need."""
    needed = training.min_workers * training.cpus_per_worker
    free = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
    if free < needed:
        console.say(
            f"  The workers need {needed:g} CPUs and {free:g} are free now: training begins when "
            f"other work on the cluster ends{' or nodes come' if training.wait_for_nodes else ''}.",
            style="yellow",
        )


def _settings(arguments: argparse.Namespace) -> tuple[str, PipelineConfig]:
    values = _hyperparameters(arguments.set)
    if arguments.config is not None:
        if values:
            raise ConfigError("--set changes a recipe; with --config write the value there.")
        recipe, config = "custom", load_config(arguments.config, PipelineConfig)
        if isinstance(config.model, EnsembleConfig):
            raise ConfigError(
                f"{arguments.config} sets up an ensemble, which is not trained itself: train its "
                f"members, each as a release, and join them with `raysys combine`."
            )
    else:
        chosen = recipe_named(arguments.recipe)
        recipe, config = chosen.name, chosen.configure(values)
    changes: dict[str, Any] = {}
    if arguments.workers is not None:
        changes["num_workers"] = _num_workers(arguments.workers)
    if arguments.refit:
        changes["refit"] = True
    if arguments.wait_for_nodes:
        changes["wait_for_nodes"] = True
    training = config.training.model_copy(update=changes)
    config = config.model_copy(update={"training": training})
    return recipe, allowing_little_data(config, arguments)


def allowing_little_data(config: PipelineConfig, arguments: argparse.Namespace) -> PipelineConfig:
    """Return the settings, which allow little data where the arguments do."""
    if not arguments.allow_little_data:
        return config
    training = config.training.model_copy(update={"allow_little_data": True})
    return config.model_copy(update={"training": training})


def _num_workers(text: str) -> int | tuple[int, int]:
    """Return what `--workers` asks for: 4, or 2-4 for any number from 2 to 4."""
    found = re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?", text)
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        raise ConfigError(
            f"--workers takes how many, such as 4, or the fewest and the most, such as 2-4, each "
            f"at least 1, but got {text!r}."
        )
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])


def _hyperparameters(assignments: list[str]) -> dict[str, Any]:
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set takes NAME=VALUE, but got {assignment!r}.")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {name}: {text!r} is no value: {error}") from error
    return values
