"""Whether there is enough to learn from."""

import numpy as np
from numpy.typing import NDArray

from raysys.config import TrainingConfig
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.interaction_rules import MIN_INTERACTIONS, MIN_RETURNING_USERS
from raysys.errors import DatasetError


def check_sufficient(histories: Histories, training: TrainingConfig) -> None:
    """Raise DatasetError where a model would learn nothing but chance, unless that is allowed.

    Args:
        histories: of all users, with what is only seen; it does not count.
    """
    if training.allow_little_data:
        return
    blocks = list(histories.blocks())
    lengths = np.concatenate([np.zeros(0, np.int64), *(_num_targets(block) for block in blocks)])
    num_targets, num_returning = int(lengths.sum()), int((lengths >= 2).sum())
    if num_targets >= MIN_INTERACTIONS and num_returning >= MIN_RETURNING_USERS:
        return
    total = histories.num_interactions
    of_all = f" of {total:,}" if total != num_targets else ""
    why = (
        " The others are left out by the feedback settings (event types, thresholds): check that "
        "they name what the log has."
        if of_all
        else ""
    )
    raise DatasetError(
        f"The dataset has {num_targets:,}{of_all} interactions that count, and {num_returning:,} "
        f"users with two of them or more. At least {MIN_INTERACTIONS:,} and {MIN_RETURNING_USERS} "
        f"are needed, or nothing can be learnt that is not chance.{why} Import more of the log, or "
        f"learn from it all the same with --allow-little-data (training.allow_little_data: true)."
    )


def _num_targets(block: Histories) -> NDArray[np.int64]:
    """Return how many interactions of each user count, (U,)."""
    found: NDArray[np.int64] = np.diff(offsets_of(block.is_target)[block.offsets])
    return found
