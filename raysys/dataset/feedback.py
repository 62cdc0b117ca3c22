"""What an event says of a user's taste: the one rule for training, evaluation, releases, serving.

Letters for shapes:
    T  events
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.config import FeedbackConfig
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.state.user_state import Interaction

COLUMNS = ("event_type", "event_value")
"""Of `tables.INTERACTIONS`: what the rule reads."""


def with_feedback(
    histories: Histories,
    event_types: pa.ChunkedArray,
    event_values: pa.ChunkedArray,
    config: FeedbackConfig,
) -> Histories:
    """Return the same users and events, each with its weight.

    Args:
        histories: of all events, each weighing 1.
        event_types: (T,) strings, null where the log has none.
        event_values: (T,) float64, null where the log has none.
    """
    if config.selects_everything:
        return histories
    histories = replace(histories, weights=weights_of(event_types, event_values, config))
    if config.gives_labels:
        labels = _values(event_values).astype(np.float32)
        histories = replace(histories, labels=labels)
    return histories


def weights_of(
    event_types: pa.Array | pa.ChunkedArray,
    event_values: pa.Array | pa.ChunkedArray,
    config: FeedbackConfig,
) -> NDArray[np.float32]:
    """Return what each event weighs, (T,); `SEEN_ONLY` where it does not count.

    The type of a negative event decides alone. Any other event needs a selected type, and a value
    that no threshold of the config refuses; an event without value is refused by each of them, and
    by explicit feedback. An event that does not count has still happened: its user knows the item.
    """
    values = _values(event_values)
    weights = np.full(len(values), SEEN_ONLY if config.event_types else 1.0, dtype=np.float32)
    for rule in config.event_types:
        is_selected = _is(event_types, [rule.event_type])
        if rule.event_value_threshold is not None:
            is_selected &= values >= rule.event_value_threshold
        weights[is_selected] = rule.weight
    if config.event_value_threshold is not None:
        weights[~(values >= config.event_value_threshold)] = SEEN_ONLY
    if config.feedback_threshold is not None:
        weights[~(values > config.feedback_threshold)] = SEEN_ONLY
    if config.gives_labels:
        weights[np.isnan(values)] = SEEN_ONLY
    weights[_is(event_types, config.negative_event_types)] = SEEN_ONLY
    return weights


def weights_of_interactions(
    interactions: Sequence[Interaction], config: FeedbackConfig
) -> NDArray[np.float32]:
    """Return what each event of the database weighs, (T,), by the same rule."""
    if config.selects_everything:
        return np.ones(len(interactions), dtype=np.float32)
    return weights_of(
        pa.array([each.event_type for each in interactions], pa.string()),
        pa.array([each.event_value for each in interactions], pa.float64()),
        config,
    )


def _values(event_values: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return (T,) values, nan where there is none."""
    values: NDArray[np.float64] = event_values.to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def _is(event_types: pa.Array | pa.ChunkedArray, wanted: Sequence[str]) -> NDArray[np.bool_]:
    found = pc.is_in(event_types, value_set=pa.array(wanted, event_types.type))
    is_wanted: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False).astype(bool)
    return is_wanted
