"""What one worker learns from and what it validates on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysys.config import LearntHistories, ModelConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.selection import Total, alone, nth_smallest, num_keys
from raysys.dataset.splits import Held, SplitBlocks, find_cutoffs
from raysys.dataset.spool import Spool


@dataclass(frozen=True, slots=True)
class Pieces:
    """Of some users: what is learnt from, and what chooses the best epoch. Never the test part."""

    train: Histories
    validation: Held


def pieces_of(
    histories: Histories,
    config: PipelineConfig,
    total: Total = alone,
    *,
    has_validation: bool = True,
) -> Pieces:
    """Return the pieces of the users that the caller holds, mapped from files without a name.

    The histories are read in blocks; the memory needed does not depend on their number.

    Args:
        total: adds up the counts of all who hold users.
        has_validation: otherwise what would be validation is learnt.

    Raises:
        ConfigError, DatasetError: the users cannot be split in this way.
    """
    blocks = histories.blocks()
    cutoffs = find_cutoffs(blocks, config.split, total)
    if not has_validation:
        cutoffs = cutoffs.without_validation()
    parts = SplitBlocks(blocks, config.split, cutoffs)
    lengths = [np.zeros(0, np.int64), *(part.train.inputs().lengths for part in parts)]
    is_usual = usual_lengths(np.concatenate(lengths), config.model, total)
    with tempfile.TemporaryDirectory(prefix="raysys-pieces-") as work:
        train, asked, answers = (Spool(Path(work), histories.vocabulary_hash) for _ in range(3))
        num_before = 0
        for part in parts:
            users = part.train.inputs()
            is_kept = is_usual[num_before : num_before + len(users)]
            num_before += len(users)
            train.append(users if is_kept.all() else users.take(np.flatnonzero(is_kept)))
            asked.append(part.validation.histories)
            answers.append(part.validation.relevant)
        return Pieces(train.histories(), Held(asked.histories(), answers.histories()))


def length_bounds(
    lengths: NDArray[np.int64], low: float, high: float, total: Total = alone
) -> tuple[int, int]:
    """Return the shortest and the longest length of a history, between two shares of the users.

    Of U users that did anything, ordered by length, the first floor(low U) are below the bounds and
    the last floor((1 - high) U) above; whoever has the length of a bound is within, so users of
    one length stay together.

    Args:
        lengths: of the caller's users.
        low, high: in [0, 1], low <= high.
        total: adds up the counts of all who hold users.
    """
    keys = lengths[lengths > 0].astype(np.uint64)
    num_users = num_keys([keys], total)
    if not num_users:
        return 0, 0
    # A share such as 0.29 times 100 is a little off in floating point.
    num_below, num_above = (int(share * num_users + 1e-6) for share in (low, 1 - high))
    ranks = [min(num_below + 1, num_users), max(num_users - num_above, 1)]
    shortest, longest = nth_smallest(lambda: [keys], ranks, total)
    return shortest, longest


def usual_lengths(
    lengths: NDArray[np.int64], model: ModelConfig, total: Total = alone
) -> NDArray[np.bool_]:
    """Return which users' histories are neither too short nor too long for the model to learn."""
    if not isinstance(model, LearntHistories):
        return np.ones(len(lengths), dtype=bool)
    shortest, longest = length_bounds(
        lengths,
        model.min_user_history_length_percentile,
        model.max_user_history_length_percentile,
        total,
    )
    return (lengths >= shortest) & (lengths <= longest)
