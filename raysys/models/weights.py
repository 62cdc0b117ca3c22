"""A trained model as files: its weights as safetensors, what it is as JSON. No pickle.

DIR/
    weights.safetensors   the parameters
    features/             what is known of items and users, if the model reads it
    model.json            settings, numbers of items, users and so on, the vocabulary's hash
    member-0/ and so on   the same of each member, in place of weights and features, if it has any
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from raysys import storage
from raysys.config import EnsembleConfig, ModelConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.errors import DamagedReleaseError, DatasetError, ReleaseMismatchError
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.ensemble import Ensemble
from raysys.models.sequence import SequenceModel

FORMAT_VERSION = 4
WEIGHTS_NAME = "weights.safetensors"
DESCRIPTION_NAME = "model.json"
FEATURES_NAME = "features"


class Description(BaseModel):
    """What has to be known to build the model that the weights belong to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(FORMAT_VERSION, ge=FORMAT_VERSION, le=FORMAT_VERSION)
    config: ModelConfig
    num_items: int
    num_users: int
    num_event_types: int
    context_sizes: tuple[int, ...]
    vocabulary: str
    """Hash of the item vocabulary whose numbers the weights' rows are."""


def save_model(model: EmbeddingModel, directory: Path, *, num_users: int, vocabulary: str) -> None:
    """Write a model into a directory, which is made if need be.

    Args:
        num_users: known ids of the user vocabulary.
        vocabulary: hash of the item vocabulary.
    """
    description = Description(
        config=model.config,
        num_items=model.num_items,
        num_users=num_users,
        num_event_types=model.num_event_types,
        context_sizes=model.context_sizes,
        vocabulary=vocabulary,
    )
    directory.mkdir(parents=True, exist_ok=True)
    storage.write_json(directory / DESCRIPTION_NAME, description.model_dump(mode="json"))
    if isinstance(model, Ensemble):
        for place, (member, _) in enumerate(model.each()):
            member_directory = directory / member_name(place)
            save_model(member, member_directory, num_users=num_users, vocabulary=vocabulary)
        return
    weights = {
        name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()
    }
    save_file(weights, directory / WEIGHTS_NAME)
    model.features.save(directory / FEATURES_NAME)


def member_name(place: int) -> str:
    """Return the directory of a member of an ensemble, by its place in the settings."""
    return f"member-{place}"


def load_model(directory: Path, *, vocabulary: str) -> EmbeddingModel:
    """Return a saved model, ready to encode.

    Raises:
        DamagedReleaseError: a file is missing, unreadable, or the two do not fit each other.
        ReleaseMismatchError: the model was trained for another item vocabulary.
    """
    try:
        description = Description.model_validate(storage.read_json(directory / DESCRIPTION_NAME))
    except (OSError, ValueError, ValidationError) as error:
        raise DamagedReleaseError(
            f"The model in {directory} cannot be loaded: {DESCRIPTION_NAME} cannot be read "
            f"({error}). Copy it again from where it was trained, or train it again."
        ) from error
    if description.vocabulary != vocabulary:
        raise ReleaseMismatchError(
            f"The model in {directory} was trained for item vocabulary "
            f"{description.vocabulary[:12]}…, but is to be used with {vocabulary[:12]}…. Item "
            f"numbers would point at the wrong items. Train it again for this vocabulary."
        )
    if isinstance(description.config, EnsembleConfig):
        return _ensemble(description.config, directory, vocabulary)
    try:
        features = FeatureTables.open(directory / FEATURES_NAME)
    except (OSError, ValueError, ValidationError, DatasetError) as error:
        raise DamagedReleaseError(
            f"The model in {directory} cannot be loaded: what it knows of items and users cannot "
            f"be read ({error}). Copy it again, or train it again."
        ) from error
    with torch.device("meta"), _NothingDrawn():
        model = build_model(
            description.config,
            num_items=description.num_items,
            num_users=description.num_users,
            num_event_types=description.num_event_types,
            context_sizes=description.context_sizes,
            features=features,
        )
    try:
        weights = load_file(directory / WEIGHTS_NAME)
        model.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DamagedReleaseError(
            f"The model in {directory} cannot be loaded: {WEIGHTS_NAME} is missing, damaged, or "
            f"of another model ({error}). Copy it again, or train it again."
        ) from error
    model.requires_grad_(False)
    return model.eval()


class _NothingDrawn(TorchFunctionMode):
    """Let weights that hold nothing yet stay so where their layers would draw them.

    To draw normal numbers that nobody holds, torch loads its compiler, which takes 2 s of CPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _ensemble(config: EnsembleConfig, directory: Path, vocabulary: str) -> Ensemble:
    members = []
    for place, settings in enumerate(config.members):
        member = load_model(directory / member_name(place), vocabulary=vocabulary)
        if not isinstance(member, SequenceModel) or member.config != settings:
            raise DamagedReleaseError(
                f"The model in {directory} cannot be loaded: {member_name(place)} is another model "
                f"than {DESCRIPTION_NAME} says. Copy it again from where it was made."
            )
        members.append(member)
    return Ensemble(config, members)
