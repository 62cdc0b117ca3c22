import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.config import LeaveLastOut, RandomSplit, TimeSplit
from raysys.dataset.histories import Histories
from raysys.dataset.splits import (
    Held,
    Split,
    leave_last_out,
    random_split,
    split,
    time_cutoffs_us,
    time_split,
)
from raysys.errors import ConfigError, DatasetError


def histories_of(**times: list[int]) -> Histories:
    """Return histories in which the item number of an interaction is 1 + its place in the log."""
    places = iter(range(1, 1000))
    items = [[next(places) for _ in user_times] for user_times in times.values()]
    return Histories.from_lists(list(times), items, list(times.values()), vocabulary_hash="v")


def items_by_user(histories: Histories) -> dict[str, list[int]]:
    users = histories.user_ids.to_pylist()
    return {user: histories.of(row)[0].tolist() for row, user in enumerate(users)}


def interactions(held: Held) -> list[int]:
    return held.relevant.item_nums.tolist()


def test_the_last_interaction_is_test_and_the_one_before_validation():
    parts = leave_last_out(histories_of(ann=[1, 2, 3, 4], bob=[5, 6, 7]))
    assert items_by_user(parts.train) == {"ann": [1, 2], "bob": [5]}
    assert items_by_user(parts.validation.relevant) == {"ann": [3], "bob": [6]}
    assert items_by_user(parts.test.relevant) == {"ann": [4], "bob": [7]}


def test_validation_ranks_from_train_and_test_from_train_and_validation():
    parts = leave_last_out(histories_of(ann=[1, 2, 3, 4]))
    assert items_by_user(parts.validation.histories) == {"ann": [1, 2]}
    assert items_by_user(parts.test.histories) == {"ann": [1, 2, 3]}
    assert parts.test.histories.vocabulary_hash == "v"


def test_users_with_fewer_than_three_interactions_stay_whole_in_train():
    parts = leave_last_out(histories_of(ann=[1, 2], bob=[3], cat=[4, 5, 6], dan=[]))
    assert items_by_user(parts.train) == {"ann": [1, 2], "bob": [3], "cat": [4]}
    assert items_by_user(parts.test.relevant) == {"cat": [6]}
    assert len(parts.validation) == 1


def test_of_two_interactions_at_one_time_the_later_in_the_log_is_the_last():
    parts = leave_last_out(histories_of(ann=[9, 9, 9]))
    assert (parts.train.item_nums[0], interactions(parts.validation), interactions(parts.test)) == (
        1,
        [2],
        [3],
    )


def test_an_interaction_exactly_at_a_cutoff_belongs_to_the_later_part():
    # Ten interactions at the times 1 to 10: test is 3 of them, validation 2.
    histories = histories_of(ann=[1, 3, 5, 7, 9], bob=[2, 4, 6, 8, 10])
    config = TimeSplit(test_share=0.3, validation_share=0.2)
    assert time_cutoffs_us(histories, config) == (6, 8)
    parts = time_split(histories, config)
    assert parts.train.occurred_at_us.tolist() == [1, 3, 5, 2, 4]
    assert sorted(parts.validation.relevant.occurred_at_us) == [6, 7]
    assert sorted(parts.test.relevant.occurred_at_us) == [8, 9, 10]


def test_interactions_at_the_time_of_a_cutoff_are_never_divided():
    histories = histories_of(ann=[1, 2, 5, 5], bob=[3, 5, 5, 6])
    parts = time_split(histories, TimeSplit(test_share=0.25, validation_share=0.125))
    # The second newest is at 5, and so all at 5 are test; nothing is left for validation.
    assert sorted(parts.test.relevant.occurred_at_us) == [5, 5, 5, 5, 6]
    assert len(parts.validation) == 0
    assert parts.train.occurred_at_us.tolist() == [1, 2, 3]


def test_a_user_whose_first_interaction_is_in_test_ranks_from_nothing():
    parts = time_split(
        histories_of(ann=[1, 2, 3, 4], bob=[5]), TimeSplit(test_share=0.2, validation_share=0)
    )
    assert items_by_user(parts.test.relevant) == {"bob": [5]}
    assert items_by_user(parts.test.histories) == {"bob": []}
    assert items_by_user(parts.train) == {"ann": [1, 2, 3, 4]}


def test_a_random_split_has_the_shares_asked_for_and_repeats_with_its_seed():
    histories = histories_of(ann=list(range(40)), bob=list(range(60)))
    config = RandomSplit(test_share=0.2, validation_share=0.1, seed=7)
    parts, again = random_split(histories, config), random_split(histories, config)
    assert parts.train.num_interactions == 70
    assert parts.validation.relevant.num_interactions == 10
    assert parts.test.relevant.num_interactions == 20
    assert interactions(parts.test) == interactions(again.test)
    other = random_split(histories, RandomSplit(test_share=0.2, validation_share=0.1, seed=8))
    assert interactions(parts.test) != interactions(other.test)


@pytest.mark.parametrize("config", [TimeSplit, RandomSplit])
def test_shares_that_leave_nothing_to_learn_from_are_refused(config):
    histories = histories_of(ann=list(range(10)))
    with pytest.raises(ConfigError, match="leave nothing to learn from"):
        split(histories, config(test_share=0.6, validation_share=0.4))


@pytest.mark.parametrize("config", [TimeSplit, RandomSplit])
def test_a_log_too_small_for_its_shares_is_refused(config):
    with pytest.raises(DatasetError, match="of 4 interactions"):
        split(histories_of(ann=[1, 2, 3, 4]), config(test_share=0.1))


@pytest.mark.parametrize("config", [TimeSplit(), RandomSplit(), LeaveLastOut()])
def test_an_empty_log_is_refused(config):
    with pytest.raises(DatasetError, match="interactions"):
        split(Histories.from_lists([], [], []), config)


def test_a_log_of_one_moment_cannot_be_split_by_time():
    with pytest.raises(DatasetError, match="leaves nothing to learn from"):
        time_split(histories_of(ann=[5] * 20), TimeSplit())


configs = st.sampled_from(
    [
        LeaveLastOut(),
        RandomSplit(test_share=0.3, validation_share=0.2),
        TimeSplit(test_share=0.3, validation_share=0.2),
    ]
)


@given(st.lists(st.lists(st.integers(0, 30), max_size=9).map(sorted), max_size=6), configs)
def test_every_interaction_is_in_exactly_one_part(times, config):
    histories = histories_of(**{f"user {row}": user for row, user in enumerate(times)})
    try:
        parts: Split = split(histories, config)
    except DatasetError:
        return
    found = [
        *parts.train.item_nums,
        *parts.validation.relevant.item_nums,
        *parts.test.relevant.item_nums,
    ]
    assert sorted(found) == histories.item_nums.tolist()
    assert parts.train.lengths.all()
    for held in (parts.validation, parts.test):
        assert held.histories.user_ids.equals(held.relevant.user_ids)
        assert held.relevant.lengths.all()
        assert not np.isin(held.relevant.item_nums, held.histories.item_nums).any()
    known = {*parts.train.item_nums, *parts.validation.relevant.item_nums}
    assert set(parts.validation.histories.item_nums) <= set(parts.train.item_nums)
    assert set(parts.test.histories.item_nums) <= known
    if isinstance(config, TimeSplit):
        newest_learnt = parts.train.occurred_at_us.max()
        assert (parts.test.relevant.occurred_at_us > newest_learnt).all()
        assert (parts.validation.relevant.occurred_at_us > newest_learnt).all()
