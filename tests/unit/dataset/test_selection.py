"""Finding the n-th smallest of what nobody holds as a whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.selection import keys_of_times, mixed, nth_smallest, num_keys
from tests.unit.dataset.builders import together

keys = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 9), st.integers(2**48 - 2, 2**48 + 2))
blocks = st.lists(st.lists(keys, max_size=9), min_size=1, max_size=4)


def of(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


@given(blocks.filter(any), st.data())
def test_the_nth_smallest_is_what_sorting_everything_would_give(lists, data):
    expected = sorted(key for block in lists for key in block)
    ranks = data.draw(st.lists(st.integers(1, len(expected)), min_size=1, max_size=3))
    found = nth_smallest(lambda: map(of, lists), ranks)
    assert found == [expected[rank - 1] for rank in ranks]


def test_holders_of_parts_find_what_one_holder_of_all_finds():
    random = np.random.default_rng(0)
    parts = [random.integers(0, 2**64, n, dtype=np.uint64) for n in (0, 700, 31)]
    expected = np.sort(np.concatenate(parts))
    found = together(lambda part, total: nth_smallest(lambda: [part], [1, 400, 731], total), parts)
    assert found == [[int(expected[0]), int(expected[399]), int(expected[730])]] * 3
    assert together(lambda part, total: num_keys([part], total), parts) == [731] * 3


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_keys_of_times_stand_in_the_order_of_the_times(times):
    found = np.argsort(keys_of_times(np.array(times, dtype=np.int64)), kind="stable")
    assert found.tolist() == np.argsort(times, kind="stable").tolist()


def test_mixing_gives_the_published_sequence_and_other_salts_give_other_hashes():
    # The first outputs of SplitMix64 with the seed 1234567, as its reference implementation gives.
    seeds = np.full(3, 1234567, dtype=np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert mixed(seeds, np.arange(3, dtype=np.uint64)).tolist() == expected
    assert len({*mixed(of([1] * 999), np.arange(999, dtype=np.uint64)).tolist()}) == 999
