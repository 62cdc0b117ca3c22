"""`raysys tune`: search hyperparameters on a dataset, publish the best trial as a release."""

import argparse
import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from raysys import storage
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Advance, Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.material import Material
from raysys.commands.measuring import MakeValidate
from raysys.commands.release import release_of_search
from raysys.commands.train import allowing_little_data, show_published
from raysys.config import PipelineConfig, load_config
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import SplitBlocks
from raysys.errors import ConfigError
from raysys.recipes import Recipe, recipe_named
from raysys.training.proposals import DEFAULTS
from raysys.training.search_files import SearchFiles, Trial, best_of
from raysys.training.space import Space
from raysys.training.sufficiency import check_sufficient
from raysys.training.tuner import Search, search_on_ray


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Search and publish; the JSON line has what the search cost and brought, and the release."""
    started = time.perf_counter()
    recipe, config = _settings(arguments)
    space = Space.of(recipe, arguments.space)
    for name, number in (("trials", arguments.trials), ("parallel", arguments.parallel)):
        if number is not None and number < 1:
            raise ConfigError(f"--{name} must be at least 1, but got {number}.")
    seed = config.training.seed if arguments.seed is None else arguments.seed
    files = SearchFiles(arguments.search.absolute())
    dataset = open_dataset(arguments.dataset)
    dataset.check_dataset_group(arguments.dataset_group)
    shown = {"dataset": arguments.dataset, "dataset_group": dataset.manifest.dataset_group}
    search = _begun(Material.of(arguments.dataset, config), files, recipe, config, space, seed)
    metadata = {"command": "tune", "recipe": recipe.name, **shown}
    with _alone(files), ray_cluster(console, metadata=metadata):
        trials = _searched(search, arguments.trials, arguments.parallel, console)
        console.say(table_of(trials, files.metric))
        release, report = release_of_search(files, arguments.releases, console)
        show_published(release, report, arguments.releases, console, trials=len(trials))
    return {
        **summary(trials, config),
        "metric": files.metric,
        "release": str(release.path),
        "name": release.name,
        "recipe": recipe.name,
        "evaluation": report.to_json(),
        "seconds": round(time.perf_counter() - started, 3),
    }


def summary(trials: list[Trial], config: PipelineConfig) -> dict[str, Any]:
    """Return what a search cost and brought, fit for JSON."""
    epochs = sum(len(trial.values) for trial in trials)
    to_the_end = len(trials) * config.training.max_epochs
    best = best_of(trials)
    assert best is not None  # the defaults have not failed
    return {
        "trials": len(trials),
        "epochs": epochs,
        "epochs_to_the_end": to_the_end,
        "ratio": round(epochs / to_the_end, 4),
        "best": best.to_json(),
        "defaults": trials[0].best,
    }


def table_of(trials: list[Trial], metric: str) -> Table:
    """Return the trials, best first; the one with the defaults is marked."""
    table = Table(
        title=f"{len(trials)} trials, by {metric} on the validation part",
        caption="* the defaults",
    )
    names = list(trials[0].hyperparameters)
    for name in ("trial", *names, "epochs", "best", metric):
        table.add_column(name, justify="right", no_wrap=name not in names)
    table.add_column("ended", no_wrap=True)
    for trial in sorted(trials, key=lambda trial: -trial.best):
        value = f"{trial.best:.4f}" if trial.values else "-"
        number = f"{'* ' if trial.number == DEFAULTS else ''}{trial.number}"
        cells = [str(trial.hyperparameters[name]) for name in names]
        epochs = [str(len(trial.values)), str(trial.best_epoch or "-")]
        table.add_row(number, *cells, *epochs, value, trial.status)
    return table


@contextmanager
def _alone(files: SearchFiles) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(storage.locked(files.directory, wait=False))
        except BlockingIOError as error:
            raise ConfigError(
                f"Another `raysys tune` is at work on {files.directory}. Wait for it or stop it, "
                f"or name another directory with --search."
            ) from error
        yield


def _settings(arguments: argparse.Namespace) -> tuple[Recipe, PipelineConfig]:
    recipe = recipe_named(arguments.recipe)
    if arguments.config is None:
        return recipe, allowing_little_data(recipe.configure({}), arguments)
    config = allowing_little_data(load_config(arguments.config, PipelineConfig), arguments)
    if config.model.kind != recipe.base.model.kind:
        raise ConfigError(
            f"{arguments.config} sets up a {config.model.kind} model, but recipe {recipe.name} "
            f"tunes a {recipe.base.model.kind}. Name the recipe of that model with --recipe."
        )
    if config.training.refit:
        raise ConfigError(
            f"{arguments.config} asks for a refit, but a search publishes the model of its best "
            f"trial as it was measured. Leave training.refit out, and train what is found with "
            f"`raysys train --refit`."
        )
    return recipe, config


def _begun(
    material: Material,
    files: SearchFiles,
    recipe: Recipe,
    config: PipelineConfig,
    space: Space,
    seed: int,
) -> Search:
    """Make the directory the search's, or find it to be that of the same one."""
    check_sufficient(material.histories, config.training)
    if not any(len(part.validation) for part in SplitBlocks.of(material.histories, config.split)):
        raise ConfigError(
            "A search compares trials on the validation part, but this split leaves nobody in it. "
            "Set split.validation_share, or import users with more interactions."
        )
    dataset = material.dataset.path.absolute()
    files.claim(
        {
            "dataset": str(dataset),
            "import_id": material.dataset.manifest.import_id,
            "recipe": recipe.name,
            "config": config.model_dump(mode="json"),
            "metric": config.evaluation.metric_name,
            "space": space.to_json(),
            "seed": seed,
        }
    )
    material.items.save(files.items)
    material.users.save(files.users)
    feature_tables(material, config.model).save(files.features)
    make_validate = MakeValidate(config.evaluation, files.users)
    return Search(
        dataset,
        files,
        config,
        space,
        seed,
        make_validate,
        material.event_types,
        material.context,
    )


def _searched(
    search: Search, num_trials: int, parallel: int | None, console: Console
) -> list[Trial]:
    max_epochs = search.config.training.max_epochs
    told = {trial.number for trial in search.files.trials() if trial.status != "open"}
    if told:
        console.say(f"  going on with the search in {search.files.directory}")

    def show(trials: list[Trial], advance: Advance) -> None:
        ended = [trial for trial in trials if trial.status != "open"]
        for trial in ended:
            if trial.number not in told:
                told.add(trial.number)
                console.say(f"  {_words_on(trial)}")
        done = sum(len(trial.values) for trial in trials if trial.status == "open")
        best = best_of(trials)
        note = "" if best is None else f"best {best.best:.4f}, trial {best.number}"
        advance(
            done + max_epochs * len(ended),
            max_epochs * max(num_trials, len(trials)),
            f"{len(ended)} of {max(num_trials, len(trials))} trials ended; {note}",
        )

    with console.progress("searching") as advance:
        return search_on_ray(
            search,
            num_trials=num_trials,
            parallel=parallel,
            on_progress=lambda trials: show(trials, advance),
        )


def _words_on(trial: Trial) -> str:
    values = ", ".join(f"{name} {value}" for name, value in trial.hyperparameters.items())
    value = f"{trial.best:.4f}" if trial.values else trial.reason
    return (
        f"trial {trial.number} {trial.status} after {len(trial.values)} epochs: {value} ({values})"
    )
