"""What a simulated world is made of: its settings, and the frozen worlds of `worlds.yaml`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from raysys.config import Config, load_yaml, parse_config
from raysys.errors import ConfigError

WORLDS_FILE = Path(__file__).with_name("worlds.yaml")
FUTURE_DAYS = 60
"""Days after the log for which a world has new items."""


class FollowUp(Config):
    """An event that may follow a pick, such as watching what was clicked."""

    when_fit: float = Field(ge=0, le=1)
    """Chance where a taste of the user led to the pick."""
    otherwise: float = Field(ge=0, le=1)
    """Chance where the user had strayed."""
    has_value: bool = False
    """Its EVENT_VALUE is a share in (0, 1], higher for what fits; else it has none."""


class World(Config):
    """The settings of a world. Two worlds with the same settings and seed are the same world."""

    num_users: int = Field(ge=1)
    num_items: int = Field(ge=36)
    """Launched by the end of the log: two for each taste at least."""
    mean_history: int = Field(ge=20)
    """About how often a user picks unasked during the log: 20 times and more, a few very often.
    Whose tastes a small catalogue exhausts picks less often."""
    num_days: int = Field(ge=1, le=3650)
    """Length of the log."""
    share_at_start: float = Field(ge=0.5, le=1)
    """Of the items, those launched before the log begins; the others come during it, evenly."""
    popularity_exponent: float = Field(ge=0, le=3)
    """An item less famous than r of the log's has fame (1 + r) ** -exponent: a long tail."""
    fame_follows_quality: float = Field(ge=-1, le=1)
    """Correlation of the two. At 1 the best items would be known already."""
    mean_quality: float = Field(gt=0, lt=1)
    """Quality of the item in the middle."""
    quality_spread: float = Field(ge=0, le=3)
    """Standard deviation of the log-odds of quality."""
    studio_says: float = Field(ge=0, le=1)
    """Share of that variance which the item's studio explains; nothing tells the rest."""
    taste_concentration: float = Field(gt=0)
    """Of the gamma distribution of tastes: small for people with few of them."""
    taste_period_days: float = Field(gt=0)
    """After so many days a user's tastes are others; between they change in a straight line."""
    stray: float = Field(gt=0, lt=1)
    """How much of an item's quality counts for a user with none of its tastes."""
    persistence: float = Field(ge=0, lt=1)
    """Chance that the taste in charge of one pick stays in charge of the next."""
    picks_per_session: float = Field(gt=0)
    """Unasked picks of one coming, on average."""
    share_of_sessions_with_list: float = Field(ge=0, le=1)
    """Sessions of the log that begin with a list of what is popular."""
    list_length: int = Field(ge=1, le=100)
    examination: float = Field(gt=0, le=1)
    """The chance that position p of a list is looked at is examination ** p."""
    event_type: str = Field(min_length=1)
    """EVENT_TYPE of a pick."""
    is_rated: bool
    """A pick has an EVENT_VALUE of 1 to 5, higher for what fits; else it has none."""
    follow_ups: Mapping[str, FollowUp]
    """Further events, by EVENT_TYPE, in the order in which they may follow a pick."""
    visits_per_day: float = Field(gt=0)
    """After the log: how often the average user comes. Who picked much in it comes more often."""
    new_items_per_day: int = Field(ge=0)
    """After the log."""
    share_poor: float = Field(ge=0, le=1)
    """Of the items launched after the log, those that are poor; nothing but clicks tells which."""
    poor_quality: float = Field(gt=0, le=1)
    """What a poor item's quality is multiplied by."""


@cache
def _worlds() -> dict[str, Any]:
    worlds: dict[str, Any] = load_yaml(WORLDS_FILE)
    return worlds


def world_names() -> list[str]:
    """Return the names of the frozen worlds."""
    return list(_worlds())


def load_world(name: str, **changes: Any) -> World:
    """Return a frozen world, or one that differs from it in some settings.

    Raises:
        ConfigError: there is no such world, no such setting, or a value out of its bounds.
    """
    if name not in _worlds():
        raise ConfigError(
            f"There is no simulated world {name!r}; there are {', '.join(world_names())}."
        )
    return parse_config(_worlds()[name] | changes, World, source=f"the simulated world {name!r}")
