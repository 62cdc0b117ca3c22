"""How an application learns by itself from what people do."""

from pydantic import Field

from raysys.config.base import DEFAULT_CAMPAIGN, Config, LabelSelector, ResourceName
from raysys.config.gate import GateConfig


class LearningConfig(Config):
    """What each round of learning reads, writes and is allowed, and how often there is one."""

    dataset: str
    """Path of the dataset that the campaign's release was made from; events are added to it."""
    releases: str
    """Path of the directory for the releases that are made."""
    campaign: ResourceName = DEFAULT_CAMPAIGN
    """That answers from one release, goes on from it, and then answers from what was learnt."""
    every_minutes: float = Field(120.0, gt=0, allow_inf_nan=False)
    """From the beginning of a round to that of the next, if there is something new by then."""
    full_every_days: float | None = Field(7.0, gt=0, allow_inf_nan=False)
    """A model that was last trained from nothing so long ago is so again. None: never."""
    epochs: int = Field(2, ge=1)
    """At most, of what is new; training from nothing takes those of the release's settings."""
    niceness: int = Field(15, ge=0, le=19)
    """Of all processes of a round, at least: where cores are short, those that serve go first.
    0: as urgent as they are."""
    nodes: dict[str, LabelSelector] = {}
    """Labels that a node must have for a round to run on it; see docs/clusters.md. Empty: the round
    is led on the head, and its trainings and imports run on any node."""
    gate: GateConfig | None = GateConfig()
    """What is learnt has to pass it to be served. None: nothing has to."""
