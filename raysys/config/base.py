"""What every settings model is made of, and the kinds of value that several of them have."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from raysys.errors import ConfigError

DEFAULT_DATASET_GROUP = "default"
DEFAULT_APPLICATION = "default"
DEFAULT_CAMPAIGN = "default"
ResourceName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,62}$")]

ExplorationPolicy = Literal["slot-mixture", "thompson-sampling", "epsilon-greedy", "none"]
"""What a place of a list that explores draws; `raysys.policy.policies` says what each means."""

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LabelSelector = Annotated[
    str, Field(pattern=rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$", max_length=1000)
]
"""The value of a label that a node must have, as Ray's label selectors write it."""


def _whole_above_one(num_gpus: float) -> float:
    if num_gpus > 1 and num_gpus != int(num_gpus):
        raise ValueError("a part of a GPU can be had, but above 1 only whole GPUs")
    return num_gpus


NumGpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]


Share = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """The base of every settings model."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def check_dataset_group_name(name: str) -> None:
    """Raise ConfigError unless `name` can be that of a dataset group."""
    try:
        TypeAdapter(ResourceName).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"A dataset group cannot be named {name!r}: 1 to 63 letters, digits, hyphens and "
            f"underscores, the first a letter or digit."
        ) from error
