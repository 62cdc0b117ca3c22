"""Too little to learn from is refused with the figures, and with the way on."""

from dataclasses import replace

import numpy as np
import pytest

from raysys.config import TrainingConfig
from raysys.dataset.feedback import SEEN_ONLY
from raysys.dataset.histories import Histories
from raysys.errors import DatasetError
from raysys.training.sufficiency import check_sufficient

ENOUGH = [40] * 24 + [39, 1]


def users(lengths: list[int]) -> Histories:
    return Histories.from_lists(
        [f"user-{row:03}" for row in range(len(lengths))],
        [[1 + place % 9 for place in range(length)] for length in lengths],
        [range(length) for length in lengths],
    )


def test_a_thousand_interactions_and_25_users_with_two_are_enough() -> None:
    check_sufficient(users(ENOUGH), TrainingConfig())


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([40] * 24 + [39], "has 999 interactions that count, and 25 users"),
        ([50] * 24 + [1] * 30, "has 1,230 interactions that count, and 24 users"),
        ([], "has 0 interactions that count, and 0 users"),
    ],
)
def test_less_is_refused_with_the_figures_unless_it_is_allowed(
    lengths: list[int], words: str
) -> None:
    with pytest.raises(DatasetError, match=f"{words}.*--allow-little-data"):
        check_sufficient(users(lengths), TrainingConfig())
    check_sufficient(users(lengths), TrainingConfig(allow_little_data=True))


def test_what_the_feedback_settings_leave_out_does_not_count_and_is_named() -> None:
    histories = users(ENOUGH)
    weights = np.ones(1_000, np.float32)
    weights[7] = SEEN_ONLY
    with pytest.raises(DatasetError, match="999 of 1,000 interactions.*event types, thresholds"):
        check_sufficient(replace(histories, weights=weights), TrainingConfig())
