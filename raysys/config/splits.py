"""Which interactions are held back, and how they are chosen."""

from typing import Annotated, Literal

from pydantic import Field

from raysys.config.base import Config


class LeaveLastOut(Config):
    """Per user: the last interaction is test, the one before is validation, the rest is train."""

    kind: Literal["leave_last_out"] = "leave_last_out"


class RandomSplit(Config):
    """Rows are drawn at random: `test_share` of them are test, `validation_share` validation."""

    kind: Literal["random"] = "random"
    test_share: float = Field(0.2, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(42, ge=0)


class TimeSplit(Config):
    """The newest `test_share` of all interactions are test, those before them validation.

    The cutoffs are times: an interaction exactly at a cutoff belongs to the later part.
    """

    kind: Literal["time"] = "time"
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.1, ge=0, lt=1)


class UserSplit(Config):
    """Amazon Personalize's: `test_share` of the users are test, and nothing of them is learnt.

    Of such a user the newest `answer_share` is to be found, rounded down but at least one
    interaction, from the rest. Users with one interaction cannot be asked and are always learnt.
    """

    kind: Literal["users"] = "users"
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    """Of the users: who chooses the best epoch. 0: the last one is."""
    answer_share: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(42, ge=0)


class SequentialExamples(Config):
    """TensorFlow Recommenders': up to `max_context` items and the one that followed, drawn apart.

    Every interaction but a user's first is the label of one example; `test_share` of the examples
    are test. Such a split mixes time: a context may hold what is a label elsewhere. A minimum
    rating is the feedback's `event_value_threshold`.
    """

    kind: Literal["sequential"] = "sequential"
    max_context: int = Field(10, ge=1, le=4096)
    min_length: int = Field(3, ge=2)
    """Users with fewer interactions give no examples."""
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(42, ge=0)


DrawnSplit = RandomSplit | TimeSplit | UserSplit | SequentialExamples
"""Splits in which all users together decide where a part begins."""
SplitConfig = Annotated[LeaveLastOut | DrawnSplit, Field(discriminator="kind")]
