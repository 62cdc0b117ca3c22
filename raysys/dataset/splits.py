"""Which interactions are learnt from, which choose the model, and which judge it at the end.

Every interaction that is to be found is in at most one part. Validation ranks from what was learnt
from; test ranks from that and the validation interactions, as a model would after it was chosen.

Where a part begins may depend on all users. Two numbers say it (`Cutoffs`); whoever holds some of
the users finds them together with the others (`find_cutoffs`) and then splits alone, so no split
ever brings all interactions to one place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from raysys.config import (
    DrawnSplit,
    LeaveLastOut,
    RandomSplit,
    SequentialExamples,
    SplitConfig,
    TimeSplit,
    UserSplit,
)
from raysys.dataset.examples import examples_of, is_label
from raysys.dataset.histories import Histories
from raysys.dataset.selection import (
    Keys,
    Total,
    alone,
    keys_of_times,
    mixed,
    nth_smallest,
    num_keys,
)
from raysys.errors import ConfigError, DatasetError
from raysys.hashing import stable_hashes

_QUERY, _TRAIN, _VALIDATION, _TEST = -1, 0, 1, 2
"""A later part ranks from all that have a lower number; `_QUERY` is never learnt from."""


@dataclass(frozen=True, slots=True)
class Held:
    """Interactions that were held back. Row r of both belongs to the same user."""

    histories: Histories
    """What a retriever ranks from, and what counts as seen; may be empty for a user."""
    relevant: Histories
    """What it should find; at least one interaction in every row."""

    def __len__(self) -> int:
        return len(self.relevant)


@dataclass(frozen=True, slots=True)
class Split:
    """`train` holds the users of whom there is something to read in it, each `Held` those who have
    something to be found in that part."""

    train: Histories
    validation: Held
    test: Held


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """The keys from which on, in their order, something is in validation, and in test."""

    validation_from: int = 0
    test_from: int = 0
    has_validation: bool = True
    """Otherwise what would be validation is learnt."""

    def without_validation(self) -> "Cutoffs":
        """Return the same test part, with all else to learn from."""
        return Cutoffs(self.test_from, self.test_from, has_validation=False)


def split(histories: Histories, config: SplitConfig) -> Split:
    """Split all users in the way that the config names.

    Raises:
        ConfigError: the shares leave nothing to learn from.
        DatasetError: there is too little to divide.
    """
    parts = split_some(histories, config, find_cutoffs([histories], config))
    if not len(parts.train):
        raise _nothing_left(histories.num_interactions)
    return parts


@dataclass(frozen=True, slots=True)
class SplitBlocks:
    """The same split, made block by block on every pass, so that only one is in memory."""

    blocks: Sequence[Histories]
    config: SplitConfig
    cutoffs: Cutoffs

    @classmethod
    def of(
        cls, histories: Histories, config: SplitConfig, *, has_validation: bool = True
    ) -> "SplitBlocks":
        """Find where the parts begin; the errors are those of `split`.

        Args:
            has_validation: otherwise what would be validation is learnt.
        """
        blocks = histories.blocks()
        cutoffs = find_cutoffs(blocks, config)
        return cls(blocks, config, cutoffs if has_validation else cutoffs.without_validation())

    def __iter__(self) -> Iterator[Split]:
        """Yield the split of each block; nobody may be left in a part of it."""
        return (split_some(block, self.config, self.cutoffs) for block in self.blocks)

    def train(self) -> Iterator[Histories]:
        """Yield what is learnt from (DatasetError: nothing is)."""
        num_users = 0
        for part in self:
            num_users += len(part.train)
            yield part.train
        if not num_users:
            raise _nothing_left(sum(block.num_interactions for block in self.blocks))


def _nothing_left(num_interactions: int) -> DatasetError:
    return DatasetError(
        f"The split leaves nothing to learn from: each of {num_interactions} interactions is held "
        f"back or does not count. Look whether `feedback` names the event types as the log writes "
        f"them, or use another kind of split, smaller shares, or more of the log."
    )


def split_some(histories: Histories, config: SplitConfig, cutoffs: Cutoffs) -> Split:
    """Split some of the users, of whom nobody may be left in a part, by the cutoffs of all."""
    if isinstance(config, SequentialExamples):
        return _sequential_split(histories.inputs(), config, cutoffs)
    if isinstance(config, LeaveLastOut):
        parts = _last_left_out(histories)
        if not cutoffs.has_validation:
            parts[parts == _VALIDATION] = _TRAIN
    elif isinstance(config, UserSplit):
        parts = _divided_users(histories, config, cutoffs)
    else:
        parts = _part_of(_keys_of_interactions(histories, config), cutoffs)
        if isinstance(config, RandomSplit):
            parts[~histories.is_target] = _TRAIN
    return Split(
        train=_with_inputs(histories.where(parts == _TRAIN)),
        validation=_held(histories, parts, _VALIDATION),
        test=_held(histories, parts, _TEST),
    )


def find_cutoffs(blocks: Sequence[Histories], config: SplitConfig, total: Total = alone) -> Cutoffs:
    """Return where parts begin.

    The largest keys are test, those before them validation; the counts are the shares of what is
    drawn, rounded. Drawn are interactions, users or examples. What has the key at a cutoff is in
    the later part: a part may be larger than its share, never smaller.

    Args:
        blocks: the users that the caller holds; they are read several times.
        total: adds up the counts of all who hold users.

    Raises:
        ConfigError: the shares leave nothing to learn from.
        DatasetError: there is too little to divide.
    """
    if isinstance(config, LeaveLastOut):
        return Cutoffs()

    def keys() -> Iterator[Keys]:
        return (_drawn_keys(block, config) for block in blocks)

    drawn = num_keys(keys(), total)
    num_test, num_validation = _counts(drawn, config)
    ranks = [drawn - num_test - num_validation + 1, drawn - num_test + 1]
    validation_from, test_from = nth_smallest(keys, ranks, total)
    return Cutoffs(validation_from, test_from)


def _counts(drawn: int, config: DrawnSplit) -> tuple[int, int]:
    test_share, validation_share = config.test_share, config.validation_share
    if test_share + validation_share >= 1:
        raise ConfigError(
            f"test_share {test_share:g} and validation_share {validation_share:g} leave nothing to "
            f"learn from. Together they must stay below 1."
        )
    num_test, num_validation = round(drawn * test_share), round(drawn * validation_share)
    if not num_test or (validation_share and not num_validation):
        raise DatasetError(
            f"A split with test_share {test_share:g} and validation_share {validation_share:g} was "
            f"asked of {drawn} {_DRAWN[config.kind]}, which leaves a part empty. Use larger shares "
            f"or import more of the log."
        )
    return num_test, num_validation


_DRAWN = {
    "random": "interactions",
    "time": "interactions",
    "users": "users with two or more interactions",
    "sequential": "examples",
}


def _drawn_keys(histories: Histories, config: DrawnSplit) -> Keys:
    if isinstance(config, UserSplit):
        return _keys_of_users(histories, config.seed)[_can_be_asked(histories)]
    if isinstance(config, SequentialExamples):
        inputs = histories.inputs()
        return _keys_of_places(inputs, config.seed)[is_label(inputs, config)]
    return _keys_of_interactions(histories, config)[histories.is_target]


def _keys_of_interactions(histories: Histories, config: RandomSplit | TimeSplit) -> Keys:
    if isinstance(config, TimeSplit):
        return keys_of_times(histories.occurred_at_us)
    return _keys_of_places(histories, config.seed)


def _keys_of_users(histories: Histories, seed: int) -> Keys:
    """Return even hashes, (U,), of user and seed."""
    return mixed(stable_hashes(histories.user_ids.to_pylist()), seed)


def _keys_of_places(histories: Histories, seed: int) -> Keys:
    """Return even hashes, (T,), of user, seed and place in the user's history."""
    users = _keys_of_users(histories, seed)
    return mixed(np.repeat(users, histories.lengths), histories.places.view(np.uint64))


def _part_of(keys: Keys, cutoffs: Cutoffs) -> NDArray[np.int8]:
    parts = np.full(len(keys), _TRAIN, dtype=np.int8)
    parts[keys >= cutoffs.validation_from] = _VALIDATION
    parts[keys >= cutoffs.test_from] = _TEST
    return parts


def _last_left_out(histories: Histories) -> NDArray[np.int8]:
    """Put each user's last target into test, the one before into validation.

    Users with fewer than three targets stay whole in train. What is no target goes with the part
    of the next one, so that no part ranks from what came after what it is to find.
    """
    is_target, to_come = histories.is_target, histories.targets_to_come()
    parts = np.full(histories.num_interactions, _TRAIN, dtype=np.int8)
    parts[to_come < 2 + is_target] = _VALIDATION
    parts[to_come < 1 + is_target] = _TEST
    parts[np.repeat(histories.num_targets() < 3, histories.lengths)] = _TRAIN
    return parts


def _can_be_asked(histories: Histories) -> NDArray[np.bool_]:
    """Return which users, (U,), have something to rank from and something to find."""
    return histories.num_targets() >= 2


def _divided_users(histories: Histories, config: UserSplit, cutoffs: Cutoffs) -> NDArray[np.int8]:
    """Put whole users into train; of the others the oldest are the query, the newest the answer."""
    users = _part_of(_keys_of_users(histories, config.seed), cutoffs)
    users[~_can_be_asked(histories)] = _TRAIN
    num_targets = histories.num_targets()
    # 0.1 * 30 is a little above 3 in floating point and 0.29 * 100 a little below 29.
    num_answers = np.floor(num_targets * config.answer_share + 1e-9).astype(np.int64)
    num_answers = np.clip(num_answers, 1, np.maximum(1, num_targets - 1))
    lengths = histories.lengths
    is_older = histories.targets_to_come() >= np.repeat(num_answers, lengths) + histories.is_target
    parts = np.repeat(users, lengths)
    parts[is_older & (parts != _TRAIN)] = _QUERY
    return parts


def _sequential_split(histories: Histories, config: SequentialExamples, cutoffs: Cutoffs) -> Split:
    parts = _part_of(_keys_of_places(histories, config.seed), cutoffs)
    in_part = partial(_examples_in, histories, config, parts)
    validation, test = (Held(*in_part(part).split_off_last(1)) for part in (_VALIDATION, _TEST))
    return Split(in_part(_TRAIN), validation, test)


def _examples_in(
    histories: Histories, config: SequentialExamples, parts: NDArray[np.int8], part: int
) -> Histories:
    places = np.flatnonzero(is_label(histories, config) & (parts == part))
    return examples_of(histories, places, config.max_context)


def _held(histories: Histories, parts: NDArray[np.int8], part: int) -> Held:
    relevant = histories.where((parts == part) & histories.is_target)
    rows = np.flatnonzero(relevant.lengths)
    return Held(histories.where(parts < part).take(rows), relevant.take(rows))


def _with_inputs(histories: Histories) -> Histories:
    return histories.take(np.flatnonzero(histories.inputs().lengths))
