"""Sequential examples as TensorFlow Recommenders makes them: some items, and the one that followed.

Every place of a history but the first is the label of one example, whose context is what stands
right before it.

Source:
    tensorflow/recommenders, examples/datasets/example_generation_movielens.py.
"""

import numpy as np
from numpy.typing import NDArray

from raysys.config import SequentialExamples
from raysys.dataset.histories import Histories, offsets_of


def is_label(histories: Histories, config: SequentialExamples) -> NDArray[np.bool_]:
    """Return which interactions, (T,), some example has for its label."""
    is_long_enough = np.repeat(histories.lengths >= config.min_length, histories.lengths)
    return is_long_enough & (histories.places > 0) & histories.is_target


def examples_of(histories: Histories, labels: NDArray[np.int64], max_context: int) -> Histories:
    """Return one row per label: up to `max_context` interactions before it, then the label itself.

    Only the label is to be found; rows of the same user have the same id.

    Args:
        histories: all of it is read.
        labels: (E,) places in `item_nums`, ascending, none of them a user's first.
    """
    lengths = np.minimum(histories.places[labels], max_context) + 1
    offsets = offsets_of(lengths)
    newest = np.repeat(offsets[1:] - 1, lengths)
    taken = np.repeat(labels, lengths) - (newest - np.arange(offsets[-1]))
    weights = np.zeros(offsets[-1], dtype=np.float32)
    weights[offsets[1:] - 1] = 1.0 if histories.weights is None else histories.weights[labels]
    users = np.searchsorted(histories.offsets, labels, side="right") - 1
    return Histories(
        histories.user_ids.take(users),
        offsets,
        **histories.columns_at(taken) | {"weights": weights},
        vocabulary_hash=histories.vocabulary_hash,
    )
