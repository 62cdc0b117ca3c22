"""Which events tell of a user's taste, and how much."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from raysys.config.base import Config, Share


class EventType(Config):
    """Events of one type that count, as `eventParametersList` of Amazon Personalize has them."""

    event_type: str = Field(min_length=1, max_length=256)
    """Exactly as the log and the clients write it."""
    event_value_threshold: FiniteFloat | None = None
    """Only events of this type with at least this value count; null: all of them."""
    weight: Share = 1.0
    """How much it counts to find the items of such events. 0: they are read, never to be found."""


class FeedbackConfig(Config):
    """Which events tell of a user's taste, and how much.

    Of an event that does not count, its item still counts as seen. Without any rule every event
    counts 1. An event without a value fails every threshold.
    """

    kind: Literal["implicit", "explicit"] = "implicit"
    """Explicit: the value of an event, such as a rating, is what a model learns to predict."""
    feedback_threshold: FiniteFloat | None = None
    """Only events with more than this value count, as MySQL HeatWave's option of that name."""
    event_value_threshold: FiniteFloat | None = None
    """Only events with at least this value count, as Amazon Personalize's `eventValueThreshold`."""
    event_types: tuple[EventType, ...] = Field((), max_length=10)
    """Only events of these types count; none named: events of every type, and those without."""
    negative_event_types: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """Events of these types, whatever their value, are neither found nor read, as if no rule had
    chosen them: the item was shown and refused."""

    @property
    def selects_everything(self) -> bool:
        """Whether every event counts 1."""
        return self == FeedbackConfig()

    @property
    def gives_labels(self) -> bool:
        """Whether every event that counts must have a value, which is its label."""
        return self.kind == "explicit"

    @model_validator(mode="after")
    def _a_type_is_named_once(self) -> Self:
        names = [each.event_type for each in self.event_types] + [*self.negative_event_types]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ValueError(f"the event type {twice[0]!r} is named twice")
        return self

    @model_validator(mode="after")
    def _a_feedback_threshold_is_of_implicit_feedback(self) -> Self:
        if self.gives_labels and self.feedback_threshold is not None:
            raise ValueError(
                "a feedback_threshold makes implicit feedback of values; explicit feedback learns "
                "them all. Leave out one of them; event_value_threshold goes with both"
            )
        return self
