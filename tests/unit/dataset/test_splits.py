from collections import Counter
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.config import (
    LeaveLastOut,
    RandomSplit,
    SequentialExamples,
    SplitConfig,
    TimeSplit,
    UserSplit,
)
from raysys.dataset import histories as histories_module
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.dataset.selection import Total
from raysys.dataset.splits import (
    Cutoffs,
    Held,
    Split,
    SplitBlocks,
    find_cutoffs,
    split,
    split_some,
)
from raysys.errors import ConfigError, DatasetError
from tests.unit.dataset.builders import concatenated, together


def every_split(**shares: float):
    """Run a test with a split of each kind."""
    kinds = (RandomSplit, TimeSplit, UserSplit, SequentialExamples)
    configs = [LeaveLastOut(), *(kind(**shares) for kind in kinds)]
    return pytest.mark.parametrize("config", configs, ids=lambda config: config.kind)


def histories_of(**times: list[int]) -> Histories:
    """Return histories in which the item number of an interaction is 1 + its place in the log."""
    places = count(1)
    items = [[next(places) for _ in user_times] for user_times in times.values()]
    return Histories.from_lists(list(times), items, list(times.values()), vocabulary_hash="v")


def items_by_user(histories: Histories) -> dict[str, list[int]]:
    users = histories.user_ids.to_pylist()
    return {user: histories.of(row)[0].tolist() for row, user in enumerate(users)}


def interactions(held: Held) -> list[int]:
    return held.relevant.item_nums.tolist()


def test_the_last_interaction_is_test_and_the_one_before_validation():
    parts = split(histories_of(ann=[1, 2, 3, 4], bob=[5, 6, 7]), LeaveLastOut())
    assert items_by_user(parts.train) == {"ann": [1, 2], "bob": [5]}
    assert items_by_user(parts.validation.relevant) == {"ann": [3], "bob": [6]}
    assert items_by_user(parts.test.relevant) == {"ann": [4], "bob": [7]}


def test_validation_ranks_from_train_and_test_from_train_and_validation():
    parts = split(histories_of(ann=[1, 2, 3, 4]), LeaveLastOut())
    assert items_by_user(parts.validation.histories) == {"ann": [1, 2]}
    assert items_by_user(parts.test.histories) == {"ann": [1, 2, 3]}
    assert parts.test.histories.vocabulary_hash == "v"


def test_users_with_fewer_than_three_interactions_stay_whole_in_train():
    parts = split(histories_of(ann=[1, 2], bob=[3], cat=[4, 5, 6], dan=[]), LeaveLastOut())
    assert items_by_user(parts.train) == {"ann": [1, 2], "bob": [3], "cat": [4]}
    assert items_by_user(parts.test.relevant) == {"cat": [6]}
    assert len(parts.validation) == 1


def test_of_two_interactions_at_one_time_the_later_in_the_log_is_the_last():
    parts = split(histories_of(ann=[9, 9, 9]), LeaveLastOut())
    assert (parts.train.item_nums[0], interactions(parts.validation), interactions(parts.test)) == (
        1,
        [2],
        [3],
    )


def test_an_interaction_exactly_at_a_cutoff_belongs_to_the_later_part():
    # Ten interactions at the times 1 to 10: test is 3 of them, validation 2.
    histories = histories_of(ann=[1, 3, 5, 7, 9], bob=[2, 4, 6, 8, 10])
    config = TimeSplit(test_share=0.3, validation_share=0.2)
    parts = split(histories, config)
    assert parts.train.occurred_at_us.tolist() == [1, 3, 5, 2, 4]
    assert sorted(parts.validation.relevant.occurred_at_us) == [6, 7]
    assert sorted(parts.test.relevant.occurred_at_us) == [8, 9, 10]


def test_interactions_at_the_time_of_a_cutoff_are_never_divided():
    histories = histories_of(ann=[1, 2, 5, 5], bob=[3, 5, 5, 6])
    parts = split(histories, TimeSplit(test_share=0.25, validation_share=0.125))
    # The second newest is at 5, and so all at 5 are test; nothing is left for validation.
    assert sorted(parts.test.relevant.occurred_at_us) == [5, 5, 5, 5, 6]
    assert len(parts.validation) == 0
    assert parts.train.occurred_at_us.tolist() == [1, 2, 3]


def test_a_user_whose_first_interaction_is_in_test_ranks_from_nothing():
    parts = split(
        histories_of(ann=[1, 2, 3, 4], bob=[5]), TimeSplit(test_share=0.2, validation_share=0)
    )
    assert items_by_user(parts.test.relevant) == {"bob": [5]}
    assert items_by_user(parts.test.histories) == {"bob": []}
    assert items_by_user(parts.train) == {"ann": [1, 2, 3, 4]}


def test_a_random_split_has_the_shares_asked_for_and_repeats_with_its_seed():
    histories = histories_of(ann=list(range(40)), bob=list(range(60)))
    config = RandomSplit(test_share=0.2, validation_share=0.1, seed=7)
    parts, again = split(histories, config), split(histories, config)
    assert parts.train.num_interactions == 70
    assert parts.validation.relevant.num_interactions == 10
    assert parts.test.relevant.num_interactions == 20
    assert interactions(parts.test) == interactions(again.test)
    other = split(histories, RandomSplit(test_share=0.2, validation_share=0.1, seed=8))
    assert interactions(parts.test) != interactions(other.test)


def test_what_is_drawn_at_random_is_spread_over_users_and_places():
    histories = histories_of(**{f"user {row}": list(range(50)) for row in range(40)})
    drawn = split(histories, RandomSplit(test_share=0.2)).test.relevant
    assert drawn.num_interactions == 400
    assert len(drawn) == 40  # binomial: a user misses all of 10 expected with chance 1e-5
    assert drawn.lengths.max() < 25
    in_older_half = int((drawn.occurred_at_us < 25).sum())
    assert 150 < in_older_half < 250  # 5 standard deviations around 200


def test_an_interaction_keeps_its_draw_when_others_join():
    config, cutoffs = RandomSplit(), Cutoffs(2**63, 2**63)
    alone = split_some(histories_of(ann=[1, 2, 3, 4, 5]), config, cutoffs).test.relevant
    joined = split_some(histories_of(ann=[1, 2, 3, 4, 5, 6], bob=[1]), config, cutoffs).test
    row = joined.relevant.rows_of(["ann"])[0]
    drawn_again = [item for item in joined.relevant.of(row)[0].tolist() if item <= 5]
    assert alone.item_nums.tolist() == drawn_again != []


def users_of(lengths: list[int]) -> Histories:
    return histories_of(**{f"user {n:03}": list(range(length)) for n, length in enumerate(lengths)})


def test_users_held_out_are_a_tenth_and_nothing_of_them_is_learnt():
    parts = split(users_of([10] * 200), UserSplit())
    asked, learnt = parts.test.relevant.user_ids.to_pylist(), parts.train.user_ids.to_pylist()
    assert (len(asked), len(learnt), len(parts.validation)) == (20, 180, 0)
    assert not {*asked} & {*learnt}
    assert (parts.train.lengths == 10).all()
    other = split(users_of([10] * 200), UserSplit(seed=7)).test.relevant.user_ids.to_pylist()
    assert asked != other


@pytest.mark.parametrize(
    ("length", "num_answers"), [(2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (30, 3), (99, 9)]
)
def test_the_newest_tenth_is_the_answer_rounded_down_but_one_at_least(length, num_answers):
    test = split(users_of([length] * 5), UserSplit(test_share=0.2)).test
    items, _ = test.histories.of(0)
    answers, _ = test.relevant.of(0)
    assert len(answers) == num_answers
    assert len(items) == length - num_answers
    assert [*items, *answers] == list(range(items[0], items[0] + length))


def test_a_share_that_floating_point_cannot_hold_is_the_one_that_was_written():
    test = split(users_of([100] * 5), UserSplit(test_share=0.2, answer_share=0.29)).test
    assert test.relevant.lengths.tolist() == [29]  # 0.29 * 100 is 28.999999999999996


def test_however_large_the_answer_something_is_left_to_ask_with():
    test = split(users_of([2] * 5), UserSplit(test_share=0.2, answer_share=0.999999)).test
    assert (test.histories.lengths.tolist(), test.relevant.lengths.tolist()) == ([1], [1])


def test_users_with_one_interaction_are_learnt_and_never_drawn():
    parts = split(users_of([1] * 30 + [2] * 10), UserSplit(test_share=0.5))
    assert (parts.test.relevant.lengths.tolist(), len(parts.train)) == ([1] * 5, 35)


def test_of_users_held_out_some_choose_the_model_if_that_is_asked_for():
    parts = split(users_of([10] * 100), UserSplit(validation_share=0.2))
    held = [
        *parts.validation.relevant.user_ids.to_pylist(),
        *parts.test.relevant.user_ids.to_pylist(),
    ]
    assert (len(parts.validation), len(parts.test), len({*held})) == (20, 10, 30)
    assert not {*held} & {*parts.train.user_ids.to_pylist()}


def rows_of(histories: Histories) -> list[list[int]]:
    return [histories.of(row)[0].tolist() for row in range(len(histories))]


def examples(parts: Split) -> list[list[int]]:
    """Return every example of all parts: context and label."""
    held = [Held(*parts.train.split_off_last(1)), parts.validation, parts.test]
    return [
        [*context, *label]
        for part in held
        for context, label in zip(rows_of(part.histories), rows_of(part.relevant), strict=True)
    ]


def test_every_interaction_but_the_first_is_the_label_of_one_example():
    config = SequentialExamples(max_context=2, test_share=0.25, validation_share=0.25)
    parts = split(histories_of(ann=[1, 2, 3, 4], bob=[1, 2], cat=[1, 2, 3]), config)
    # bob has fewer than min_length, which is 3; cat has just as many. Items 5 and 6 are bob's.
    assert sorted(examples(parts)) == [[1, 2], [1, 2, 3], [2, 3, 4], [7, 8], [7, 8, 9]]
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (3, 1, 1)


def test_a_context_has_the_ten_items_before_its_label_and_no_more():
    parts = split(histories_of(ann=list(range(14))), SequentialExamples())
    assert sorted(examples(parts))[-1] == [*range(4, 15)]
    assert max(len(example) for example in examples(parts)) == 11
    assert sorted(len(example) for example in examples(parts))[:10] == [*range(2, 12)]


def test_only_the_label_of_an_example_is_to_be_found():
    train = split(histories_of(ann=list(range(20))), SequentialExamples(max_context=3)).train
    for row in range(len(train)):
        span = slice(train.offsets[row], train.offsets[row + 1])
        assert train.weights[span].tolist() == [0.0] * (train.lengths[row] - 1) + [1.0]


def test_a_tenth_of_the_examples_is_test():
    parts = split(users_of([101] * 5), SequentialExamples())
    assert (len(parts.train), len(parts.test)) == (450, 50)
    assert len({user for user in parts.test.relevant.user_ids.to_pylist()}) == 5


def weighted(weights: list[list[float]]) -> Histories:
    """Return histories of items 1, 2, … at the times 1, 2, …, each with its weight."""
    items = iter(range(1, 1000))
    nums = [[next(items) for _ in user] for user in weights]
    times = [[1 + step for step in range(len(user))] for user in weights]
    names = [f"user {row}" for row in range(len(weights))]
    return Histories.from_lists(
        names, nums, times, weights=[np.array(user, np.float32) for user in weights]
    )


def test_the_last_interaction_that_counts_is_test_and_what_came_after_it_is_nowhere():
    # 1 is learnt; 3 is validation and 5 test; 2, 4 are read before them; 6 and 7 came too late.
    histories = weighted([[1, 0, 0.5, SEEN_ONLY, 1, 0, SEEN_ONLY]])
    parts = split(histories, LeaveLastOut())
    assert (rows_of(parts.train), rows_of(parts.validation.relevant)) == ([[1, 2]], [[3]])
    assert rows_of(parts.validation.histories) == [[1, 2]]
    assert rows_of(parts.test.histories) == [[1, 2, 3, 4]]
    assert rows_of(parts.test.relevant) == [[5]]


def test_what_does_not_count_is_not_counted_among_three_interactions():
    parts = split(weighted([[1, 0, 1, 0], [1, 1, 1, 0]]), LeaveLastOut())
    assert rows_of(parts.train) == [[1, 2, 3, 4], [5]]


@every_split(test_share=0.3, validation_share=0.2)
def test_only_what_counts_is_ever_to_be_found(config):
    random = np.random.default_rng(3)
    histories = weighted([random.choice([1.0, 0.5, 0.0, SEEN_ONLY], 12) for _ in range(30)])
    counts = {*histories.targets().item_nums.tolist()}
    parts = split(histories, config)
    for held in (parts.validation, parts.test):
        assert len(held)
        assert {*held.relevant.item_nums.tolist()} <= counts


DRAWN = [TimeSplit, RandomSplit, UserSplit, SequentialExamples]


@pytest.mark.parametrize("config", DRAWN)
def test_shares_that_leave_nothing_to_learn_from_are_refused(config):
    histories = histories_of(ann=list(range(10)))
    with pytest.raises(ConfigError, match="leave nothing to learn from"):
        split(histories, config(test_share=0.6, validation_share=0.4))


@pytest.mark.parametrize(
    ("config", "drawn"),
    [
        (TimeSplit, "4 interactions"),
        (RandomSplit, "4 interactions"),
        (UserSplit, "1 users with two or more"),
        (SequentialExamples, "3 examples"),
    ],
)
def test_a_log_too_small_for_its_shares_is_refused(config, drawn):
    with pytest.raises(DatasetError, match=f"of {drawn}"):
        split(histories_of(ann=[1, 2, 3, 4]), config(test_share=0.1))


@pytest.mark.parametrize("config", [*(each() for each in DRAWN), LeaveLastOut()])
def test_an_empty_log_is_refused(config):
    with pytest.raises(DatasetError, match="of 0 (users|examples|interactions)|leaves nothing"):
        split(Histories.from_lists([], [], []), config)


def test_a_log_of_one_moment_cannot_be_split_by_time():
    with pytest.raises(DatasetError, match="leaves nothing to learn from"):
        split(histories_of(ann=[5] * 20), TimeSplit())


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


@every_split(test_share=0.2, validation_share=0.1)
def test_holders_of_some_users_together_split_as_one_holder_of_all(config: SplitConfig):
    random = np.random.default_rng(0)
    lengths = random.integers(0, 12, 60)
    names = [f"user {row:02}" for row in range(60)]
    items = [random.integers(1, 99, n) for n in lengths]
    histories = Histories.from_lists(
        names, items, [np.sort(random.integers(0, 50, n)) for n in lengths]
    )
    expected = split(histories, config)
    shares = [histories.take(rows) for rows in ([*range(0, 60, 2)], [], [*range(1, 60, 2)])]

    def split_share(share: Histories, total: Total) -> Split:
        return split_some(share, config, find_cutoffs([share], config, total))

    found = together(split_share, shares)
    for name in ("train", "validation", "test"):
        parts = [getattr(each, name) for each in found]
        pairs = [(p, p) if name == "train" else (p.histories, p.relevant) for p in parts]
        wanted = getattr(expected, name)
        wanted = (wanted, wanted) if name == "train" else (wanted.histories, wanted.relevant)
        for side in (0, 1):
            rows = [row for pair in pairs for row in listed(pair[side])]
            assert sorted(rows) == sorted(listed(wanted[side]))


def listed(histories: Histories) -> list[tuple[str, list[int], list[int]]]:
    users = histories.user_ids.to_pylist()
    return [(user, *(part.tolist() for part in histories.of(r))) for r, user in enumerate(users)]


@pytest.mark.parametrize(
    "config",
    [
        LeaveLastOut(),
        RandomSplit(validation_share=0.1),
        TimeSplit(),
        UserSplit(test_share=0.3, validation_share=0.2),
        SequentialExamples(test_share=0.3, validation_share=0.2),
    ],
    ids=lambda config: config.kind,
)
@pytest.mark.parametrize("block_size", [1, 10, 1 << 20])
def test_split_block_by_block_everybody_is_where_splitting_all_at_once_puts_them(
    monkeypatch: pytest.MonkeyPatch, config: SplitConfig, block_size: int
):
    monkeypatch.setattr(histories_module, "BLOCK_INTERACTIONS", block_size)
    random = np.random.default_rng(0)
    users = {f"u{n:02}": sorted(random.integers(0, 99, n % 9).tolist()) for n in range(40)}
    histories = histories_of(**users)
    whole, parts = split(histories, config), SplitBlocks.of(histories, config)
    assert len(parts.blocks) > 10 or block_size > 9
    for _ in range(2):  # every pass is the same
        blocks = list(parts)
        assert (
            concatenated([block.train for block in blocks])
            .to_table()
            .equals(concatenated([whole.train]).to_table())
        )
        for part in ("validation", "test"):
            held, expected = [getattr(block, part) for block in blocks], getattr(whole, part)
            for side in ("histories", "relevant"):
                found = concatenated([getattr(each, side) for each in held]).to_table()
                assert found.equals(concatenated([getattr(expected, side)]).to_table())
    assert sum(len(train) for train in parts.train()) == len(whole.train)


@every_split(test_share=0.2, validation_share=0.2)
def test_without_validation_all_but_the_test_part_is_learnt(config: SplitConfig):
    random = np.random.default_rng(0)
    times = {f"u{n:02}": sorted(random.integers(0, 99, 3 + n % 7).tolist()) for n in range(40)}
    histories = histories_of(**times)
    parts = split(histories, config)
    (refit,) = SplitBlocks.of(histories, config, has_validation=False)
    assert len(parts.validation) > 5
    assert len(refit.validation) == 0
    assert refit.test.relevant.to_table().equals(parts.test.relevant.to_table())
    assert refit.test.histories.to_table().equals(parts.test.histories.to_table())
    learnt = Counter(refit.train.item_nums.tolist())
    held_back = Counter(parts.validation.relevant.item_nums.tolist())
    if isinstance(config, UserSplit | SequentialExamples):  # they come with what is asked with
        held_back += Counter(parts.validation.histories.item_nums.tolist())
    assert learnt == Counter(parts.train.item_nums.tolist()) + held_back


def test_blocks_that_leave_nothing_to_learn_from_are_refused():
    parts = SplitBlocks.of(histories_of(ann=[1] * 9, bob=[1] * 9), TimeSplit())
    with pytest.raises(DatasetError, match="each of 18 interactions is held back"):
        list(parts.train())


def test_where_nothing_counts_the_split_says_so():
    histories = weighted([[SEEN_ONLY] * 4, [SEEN_ONLY]])
    assert len(split_some(histories, LeaveLastOut(), Cutoffs()).train) == 0
    with pytest.raises(DatasetError, match="each of 5 interactions.*`feedback` names the event"):
        split(histories, LeaveLastOut())
