"""Which interactions are learnt from, which choose the model, and which judge it at the end.

Every interaction is in exactly one part. Validation ranks from what was learnt from; test ranks
from that and the validation interactions, as a model would after it was chosen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.config import LeaveLastOut, RandomSplit, SplitConfig, TimeSplit
from raysys.dataset.histories import Histories
from raysys.errors import ConfigError, DatasetError

_TRAIN, _VALIDATION, _TEST = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Held:
    """Interactions that were held back. Row r of both belongs to the same user."""

    histories: Histories
    """What a retriever ranks from; may be empty for a user."""
    relevant: Histories
    """What it should find; at least one interaction for every user."""

    def __len__(self) -> int:
        return len(self.relevant)


@dataclass(frozen=True, slots=True)
class Split:
    """`train` holds the users who have something in it, each `Held` those who have in that part."""

    train: Histories
    validation: Held
    test: Held


def split(histories: Histories, config: SplitConfig) -> Split:
    """Split in the way that the config names."""
    if isinstance(config, LeaveLastOut):
        return leave_last_out(histories)
    if isinstance(config, RandomSplit):
        return random_split(histories, config)
    return time_split(histories, config)


def leave_last_out(histories: Histories) -> Split:
    """Each user's last interaction is test, the one before it validation, the rest train.

    Users with fewer than three interactions stay whole in train.
    """
    newest = histories.positions_from_newest()
    is_long_enough = np.repeat(histories.lengths >= 3, histories.lengths)
    parts = np.full(histories.num_interactions, _TRAIN, dtype=np.int8)
    parts[is_long_enough & (newest == 1)] = _VALIDATION
    parts[is_long_enough & (newest == 0)] = _TEST
    return _by_parts(histories, parts)


def random_split(histories: Histories, config: RandomSplit) -> Split:
    """Interactions are drawn without regard to user or time; the counts are the shares, rounded.

    Such a split mixes time: a history may hold what came after the interaction to be found.
    """
    total = histories.num_interactions
    num_test, num_validation = _counts(total, config.test_share, config.validation_share)
    order = np.random.default_rng(config.seed).permutation(total)
    parts = np.full(total, _TRAIN, dtype=np.int8)
    parts[order[:num_test]] = _TEST
    parts[order[num_test : num_test + num_validation]] = _VALIDATION
    return _by_parts(histories, parts)


def time_split(histories: Histories, config: TimeSplit) -> Split:
    """All interactions from one time on are test, those from an earlier time on validation."""
    validation_from_us, test_from_us = time_cutoffs_us(histories, config)
    times = histories.occurred_at_us
    parts = np.full(len(times), _TRAIN, dtype=np.int8)
    parts[times >= validation_from_us] = _VALIDATION
    parts[times >= test_from_us] = _TEST
    return _by_parts(histories, parts)


def time_cutoffs_us(histories: Histories, config: TimeSplit) -> tuple[int, int]:
    """Return when validation and test begin, in microseconds since 1970 UTC.

    The time of the interaction at the share's place is the cutoff, and whatever happened exactly
    then is in the later part; so a part may be larger than its share, never smaller.
    """
    total = histories.num_interactions
    num_test, num_validation = _counts(total, config.test_share, config.validation_share)
    times = np.sort(histories.occurred_at_us)
    return int(times[total - num_test - num_validation]), int(times[total - num_test])


def _counts(total: int, test_share: float, validation_share: float) -> tuple[int, int]:
    if test_share + validation_share >= 1:
        raise ConfigError(
            f"test_share {test_share:g} and validation_share {validation_share:g} leave nothing to "
            f"learn from. Together they must stay below 1."
        )
    num_test, num_validation = round(total * test_share), round(total * validation_share)
    if not num_test or (validation_share and not num_validation):
        raise DatasetError(
            f"A split with test_share {test_share:g} and validation_share {validation_share:g} was "
            f"asked of {total} interactions, which leaves a part empty. Use larger shares or "
            f"import more of the log."
        )
    return num_test, num_validation


def _by_parts(histories: Histories, parts: NDArray[np.int8]) -> Split:
    train = _with_interactions(histories.where(parts == _TRAIN))
    if not len(train):
        raise DatasetError(
            f"The split leaves nothing to learn from: all {histories.num_interactions} "
            f"interactions are held back, since they share their times or are too few. Use another "
            f"kind of split, smaller shares, or more of the log."
        )
    return Split(
        train=train,
        validation=_held(histories, parts, _VALIDATION),
        test=_held(histories, parts, _TEST),
    )


def _held(histories: Histories, parts: NDArray[np.int8], part: int) -> Held:
    relevant = histories.where(parts == part)
    rows = np.flatnonzero(relevant.lengths)
    return Held(histories.where(parts < part).take(rows), relevant.take(rows))


def _with_interactions(histories: Histories) -> Histories:
    return histories.take(np.flatnonzero(histories.lengths))
