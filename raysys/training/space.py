"""What a search may choose from: for each hyperparameter a range, or a list of values.

As people write it: `hidden_dimension=32:256` (a range, both ends included), `bptt=8,16,32` (these
values), `recency_mask=true,false`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from raysys.config import PipelineConfig, parse_config
from raysys.errors import ConfigError
from raysys.recipes import Hyperparameter, Recipe

Value = int | float | bool


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both included; whole numbers only where both are."""

    low: int | float
    high: int | float

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values."""

    values: tuple[Value, ...]

    def __contains__(self, value: Value) -> bool:
        return any(value == each and type(value) is type(each) for each in self.values)

    def __str__(self) -> str:
        return ",".join(_text(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions of a search, by the name of the hyperparameter."""

    dimensions: Mapping[str, Range | Choice]

    @classmethod
    def of(cls, recipe: Recipe, assignments: Sequence[str] = ()) -> "Space":
        """Return the space that the assignments span; without any, all that the recipe lets tune.

        Raises:
            ConfigError: a name that the recipe does not have or let tune, a value outside of its
                range, or something that is no range and no list.
        """
        tunable = {each.name: each for each in recipe.hyperparameters if each.tunable}
        if not tunable:
            raise ConfigError(f"Recipe {recipe.name} has no hyperparameter that can be tuned.")
        if not assignments:
            return cls({name: _whole(each) for name, each in tunable.items()})
        dimensions: dict[str, Range | Choice] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not text:
                raise ConfigError(
                    f"--space takes NAME=LOW:HIGH or NAME=VALUE,VALUE, but got {assignment!r}."
                )
            if name in dimensions:
                raise ConfigError(f"--space names {name} twice; give it one range or one list.")
            if name not in tunable:
                raise ConfigError(
                    f"Recipe {recipe.name} does not let {name!r} be tuned; it does "
                    f"{', '.join(sorted(tunable))}."
                )
            dimensions[name] = _parsed(recipe, tunable[name], text)
        return cls(dimensions)

    def values_of(self, config: PipelineConfig) -> dict[str, Value]:
        """Return what a config has for each dimension."""
        return {name: getattr(config.model, name) for name in self.dimensions}

    def __contains__(self, values: Mapping[str, Value]) -> bool:
        return all(values[name] in dimension for name, dimension in self.dimensions.items())

    def to_json(self) -> dict[str, str]:
        """Return each dimension as people write it."""
        return {name: str(dimension) for name, dimension in sorted(self.dimensions.items())}


def with_hyperparameters(config: PipelineConfig, values: Mapping[str, Value]) -> PipelineConfig:
    """Return a config with some settings of its model replaced."""
    merged = config.model_dump(mode="json")
    merged["model"].update(values)
    return parse_config(merged, PipelineConfig, source="a trial")


def _whole(hyperparameter: Hyperparameter) -> Range | Choice:
    if hyperparameter.low is None or hyperparameter.high is None:
        return Choice((True, False))
    return Range(hyperparameter.low, hyperparameter.high)


def _parsed(recipe: Recipe, hyperparameter: Hyperparameter, text: str) -> Range | Choice:
    low, colon, high = text.partition(":")
    if colon:
        ends = [_value(recipe, hyperparameter, end) for end in (low, high)]
        if isinstance(hyperparameter.default, bool):
            raise _refused(recipe, hyperparameter, text)
        if ends[0] > ends[1]:
            raise ConfigError(
                f"--space {hyperparameter.name}={text} is a range that ends before it begins. "
                f"Write {hyperparameter.name}={high}:{low}."
            )
        return Range(*ends)
    values = [_value(recipe, hyperparameter, each) for each in text.split(",")]
    return Choice(tuple(dict.fromkeys(values)))


def _value(recipe: Recipe, hyperparameter: Hyperparameter, text: str) -> Value:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    wanted = type(hyperparameter.default)
    if isinstance(value, int | float):
        as_wanted = float(value) if wanted is float and type(value) is int else value
        if hyperparameter.admits(as_wanted):
            return as_wanted
    raise _refused(recipe, hyperparameter, text)


def _refused(recipe: Recipe, hyperparameter: Hyperparameter, text: str) -> ConfigError:
    return ConfigError(
        f"A search over {hyperparameter.name} cannot take {text!r}: of recipe {recipe.name} it "
        f"must {hyperparameter.rule}. Its default is {hyperparameter.default}."
    )


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
