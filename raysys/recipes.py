"""Recipes: the named ways to train, their hyperparameters, ranges and defaults.

The names are Amazon Personalize's, since its users know them; `transformer` and `two-tower` have
none there. A recipe yields a model's settings; what it does not name keeps the default of
`raysys.config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raysys.config import (
    GruConfig,
    ItemToItemConfig,
    PipelineConfig,
    PopularityConfig,
    TrainingConfig,
    TransformerConfig,
    TrendingConfig,
    TwoTowerConfig,
    parse_config,
)
from raysys.errors import ConfigError


@dataclass(frozen=True)
class Hyperparameter:
    """One dial of a recipe: `low` and `high` are included; both are None for a switch.

    One of `choices`, if there are any; with the default None it may be switched off by null.
    """

    name: str
    default: int | float | bool | str | None
    low: int | float | None = None
    high: int | float | None = None
    tunable: bool = True
    choices: tuple[str, ...] = ()

    def admits(self, value: Any) -> bool:
        """Return whether it may have this value."""
        if self.choices:
            return value in self.choices
        if value is None:
            return self.default is None
        if self.low is None or self.high is None:
            return isinstance(value, bool)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_whole_enough = self._may_have_fractions or isinstance(value, int)
        return is_number and is_whole_enough and bool(self.low <= value <= self.high)

    @property
    def rule(self) -> str:
        """What comes after "it must" where a value is refused."""
        if self.choices:
            return f"be one of {', '.join(self.choices)}"
        if self.low is None:
            return "be true or false"
        whole = "" if self._may_have_fractions else ", whole numbers"
        switched_off = ", or be null" if self.default is None else ""
        return f"lie in [{self.low}, {self.high}]{whole}{switched_off}"

    @property
    def _may_have_fractions(self) -> bool:
        return self.default is None or isinstance(self.default, float)


@dataclass(frozen=True)
class Recipe:
    """A named way to train. `name` is what users type; `arn` what AWS SDKs send."""

    name: str
    description: str
    base: PipelineConfig
    hyperparameters: tuple[Hyperparameter, ...] = field(default=())

    @property
    def arn(self) -> str:
        return f"arn:aws:personalize:::recipe/{self.name}"

    def configure(self, values: Mapping[str, Any]) -> PipelineConfig:
        """Return the recipe's settings with some hyperparameters replaced.

        Raises:
            ConfigError: a name that the recipe does not have, or a value outside its range.
        """
        known = {hyperparameter.name: hyperparameter for hyperparameter in self.hyperparameters}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(
                    f"Recipe {self.name} has no hyperparameter {name!r}; it has "
                    f"{', '.join(sorted(known)) or 'none'}."
                )
            if not known[name].admits(value):
                raise ConfigError(
                    f"Hyperparameter {name} of recipe {self.name} must {known[name].rule}, but got "
                    f"{value!r}. Its default is {known[name].default}."
                )
        merged = self.base.model_dump(mode="json")
        merged["model"].update(values)
        return parse_config(merged, PipelineConfig, source=f"recipe {self.name}")


USER_PERSONALIZATION = Recipe(
    name="aws-user-personalization",
    description="A GRU over each user's history; the list answers what they just did.",
    base=PipelineConfig(model=GruConfig()),
    hyperparameters=(
        Hyperparameter("hidden_dimension", 149, 32, 256),
        Hyperparameter("bptt", 32, 2, 32),
        Hyperparameter("recency_mask", True),
        Hyperparameter("min_user_history_length_percentile", 0.0, 0.0, 1.0, tunable=False),
        Hyperparameter("max_user_history_length_percentile", 1.0, 0.0, 1.0, tunable=False),
    ),
)

TRANSFORMER = Recipe(
    name="transformer",
    description="Causal attention over each user's history; the list answers what they just did.",
    base=PipelineConfig(
        model=TransformerConfig(),
        training=TrainingConfig(
            learning_rate=2e-3,
            warmup_steps=100,
            batch_size=8,
            max_epochs=20,
            patience=8,
            ema_decay=0.99,
        ),
    ),
    hyperparameters=(
        Hyperparameter("hidden_dimension", 64, 32, 256),
        Hyperparameter("num_layers", 2, 1, 8),
        Hyperparameter("num_heads", 2, 1, 8),
        Hyperparameter("window", 128, 16, 1024),
        Hyperparameter("dropout", 0.25, 0.0, 0.8),
        Hyperparameter("recency_mask", False),
        Hyperparameter("min_user_history_length_percentile", 0.0, 0.0, 1.0, tunable=False),
        Hyperparameter("max_user_history_length_percentile", 1.0, 0.0, 1.0, tunable=False),
    ),
)

TWO_TOWER = Recipe(
    name="two-tower",
    description="A user tower and an item tower, of ids and of what the tables tell.",
    base=PipelineConfig(
        model=TwoTowerConfig(),
        training=TrainingConfig(learning_rate=5e-3, batch_size=1024, max_epochs=20),
    ),
    hyperparameters=(Hyperparameter("embedding_dim", 32, 8, 256),),
)

SIMILAR_ITEMS = Recipe(
    name="aws-similar-items",
    description="Two item towers, learnt from what the same users took; the list is like an item.",
    base=PipelineConfig(
        model=ItemToItemConfig(
            min_user_history_length_percentile=0.005, max_user_history_length_percentile=0.995
        ),
        training=TrainingConfig(
            learning_rate=2e-3,
            weight_decay=0.2,
            batch_size=1024,
            max_epochs=20,
            patience=5,
            ema_decay=0.99,
        ),
    ),
    hyperparameters=(
        Hyperparameter("item_id_hidden_dim", 100, 30, 200),
        Hyperparameter("popularity_discount_factor", 0.5, 0.0, 1.0),
        Hyperparameter("window", 10, 1, 100),
        Hyperparameter("min_user_history_length_percentile", 0.005, 0.0, 1.0, tunable=False),
        Hyperparameter("max_user_history_length_percentile", 0.995, 0.0, 1.0, tunable=False),
    ),
)

POPULARITY_COUNT = Recipe(
    name="aws-popularity-count",
    description="The same list for everybody: the items that most interactions are with.",
    base=PipelineConfig(model=PopularityConfig(), training=TrainingConfig(max_epochs=1)),
    hyperparameters=(Hyperparameter("half_life_days", None, 0.01, 36500.0, tunable=False),),
)

TRENDING_NOW = Recipe(
    name="aws-trending-now",
    description="The same list for everybody: the items that gain most, against all traffic.",
    base=PipelineConfig(model=TrendingConfig(), training=TrainingConfig(max_epochs=1)),
    hyperparameters=(
        Hyperparameter(
            "trend_discovery_frequency",
            "2 hours",
            tunable=False,
            choices=("30 minutes", "1 hour", "2 hours", "3 hours", "1 day", "7 days"),
        ),
    ),
)

_ALL = (
    USER_PERSONALIZATION,
    TRANSFORMER,
    TWO_TOWER,
    SIMILAR_ITEMS,
    POPULARITY_COUNT,
    TRENDING_NOW,
)
RECIPES = {recipe.name: recipe for recipe in _ALL}


def recipe_named(name: str) -> Recipe:
    """Return the recipe with this name or ARN; ConfigError names the known ones."""
    recipe = RECIPES.get(name.rpartition("/")[2])
    if recipe is None:
        raise ConfigError(f"There is no recipe {name!r}; the recipes are {', '.join(RECIPES)}.")
    return recipe
