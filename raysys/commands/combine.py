"""`raysys combine`: let several releases of one dataset rank together, publish them as one."""

import argparse
import time
from pathlib import Path
from typing import Any

from raysys.commands.building import WriteModel, build_release
from raysys.commands.console import Console
from raysys.commands.material import Material
from raysys.commands.train import show_published
from raysys.config import EnsembleConfig, PipelineConfig, SequenceConfig, parse_config
from raysys.dataset.context import ContextEncoder
from raysys.dataset.event_types import EventTypes
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, ReleaseMismatchError
from raysys.models.ensemble import Ensemble
from raysys.models.sequence import SequenceModel
from raysys.models.weights import load_model, save_model
from raysys.release import (
    CONTEXT,
    EVENT_TYPES,
    MODEL_DIRECTORY,
    USER_VOCABULARY,
    Release,
    open_release,
)

_RECIPE = "ensemble"


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Publish; the JSON line has the release and its metrics."""
    started = time.perf_counter()
    releases = [open_release(path) for path in arguments.release]
    for release in releases:
        release.check_dataset_group(arguments.dataset_group)
        release.verify()
    config = ensemble_of(releases, arguments.weights)
    material = Material.of(arguments.dataset, config, going_on_from=releases[0])
    _check_same_data(releases, material)
    release, report = build_release(
        material,
        arguments.releases,
        config,
        recipe=_RECIPE,
        write_model=_joined(config, releases),
        console=console,
        lineage={"members": [_member(release) for release in releases]},
    )
    show_published(release, report, arguments.releases, console)
    return {
        "release": str(release.path),
        "name": release.name,
        "recipe": _RECIPE,
        "evaluation": report.to_json(),
        "seconds": round(time.perf_counter() - started, 3),
    }


def ensemble_of(releases: list[Release], weights: str | None) -> PipelineConfig:
    """Return the settings of the first release with a model of all of them.

    Args:
        weights: numbers between commas; None: all alike.

    Raises:
        ConfigError: there is one release, a model does not read histories, or the weights are none.
        ReleaseMismatchError: they were not measured alike, so they cannot be compared.
    """
    if len(releases) < 2:
        raise ConfigError("An ensemble needs two releases or more, but one --release was named.")
    settings = [release.settings() for release in releases]
    first, members = settings[0], []
    for release, own in zip(releases, settings, strict=True):
        for name in ("split", "feedback", "evaluation"):
            if getattr(own, name) != getattr(first, name):
                raise ReleaseMismatchError(
                    f"{release.name} and {releases[0].name} have different settings of {name}, so "
                    f"what one was tested on the other may have learnt. Train both alike."
                )
        if not isinstance(own.model, SequenceConfig):
            raise ConfigError(
                f"{release.name} is a {own.model.kind} model. An ensemble is made of models that "
                f"read histories, such as those of the recipes aws-user-personalization and "
                f"transformer."
            )
        members.append(own.model)
    shares = _numbers(weights) if weights is not None else [1.0] * len(members)
    model = parse_config(
        {"members": members, "weights": shares}, EnsembleConfig, source="these releases"
    )
    # What any member has learnt from, the baselines of the report may too.
    has_refit = any(own.training.refit for own in settings)
    training = first.training.model_copy(update={"refit": has_refit})
    return first.model_copy(update={"model": model, "training": training})


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--weights takes a number for each release, such as 2,1, but got {text!r}."
        ) from error


def _check_same_data(releases: list[Release], material: Material) -> None:
    dataset = material.dataset
    for release in releases:
        release.check_trained_on(dataset.path, dataset.manifest.import_id)
        users = Vocabulary.open(release.file(USER_VOCABULARY))
        found = (release.manifest.vocabulary, users.hash)
        if found != (material.items.hash, material.users.hash):
            raise ReleaseMismatchError(
                f"{release.name} numbers items or users in another order than {releases[0].name}: "
                f"an update numbers what is new last. Train both on this dataset, or update both "
                f"from releases of the same one."
            )
        types = EventTypes.open(release.file(EVENT_TYPES))
        if types.names and types != material.event_types:
            raise ReleaseMismatchError(
                f"{release.name} numbers the types of events in another order "
                f"({', '.join(types.names)}) than this release would "
                f"({', '.join(material.event_types.names)}): an update numbers what is new last. "
                f"Name another --release first, or train both on this dataset."
            )
        context = ContextEncoder.open(release.file(CONTEXT))
        if context.columns and context != material.context:
            raise ReleaseMismatchError(
                f"{release.name} has other categories of the context than {releases[0].name}, "
                f"whose queries they would move by the wrong vectors. Train both on this dataset "
                f"with model.context alike, or update both from releases of the same one."
            )


def _joined(config: PipelineConfig, releases: list[Release]) -> WriteModel:
    def write(material: Material, draft: Path) -> None:
        vocabulary = material.items.hash
        members = []
        for release in releases:
            member = load_model(release.path / MODEL_DIRECTORY, vocabulary=vocabulary)
            assert isinstance(member, SequenceModel)
            members.append(member)
        assert isinstance(config.model, EnsembleConfig)
        save_model(
            Ensemble(config.model, members),
            draft / MODEL_DIRECTORY,
            num_users=len(material.users),
            vocabulary=vocabulary,
        )

    return write


def _member(release: Release) -> dict[str, Any]:
    training = release.settings().training.model_dump(mode="json")
    return {"release": release.name, "recipe": release.manifest.recipe, "training": training}
