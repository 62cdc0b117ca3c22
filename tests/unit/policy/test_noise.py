"""Seeded numbers: the right laws, and the same for ever."""

import numpy as np
import pytest

from raysys.hashing import stable_hashes
from raysys.policy import noise
from raysys.policy.noise import coins, gumbel_noise

MASK = (1 << 64) - 1
HASHES = stable_hashes(f"item-{number}" for number in range(5_000))


def splitmix(state: int) -> int:
    """The published generator, in plain Python: one output for a state before its step."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_coins_are_those_of_splitmix64_so_that_a_logged_seed_can_be_played_again() -> None:
    assert splitmix(0) == 0xE220A8397B1DCDAF  # the generator's published first output
    state = splitmix(splitmix(7) ^ 0xD1B54A32D192ED03)
    steps = [(state + step * 0x9E3779B97F4A7C15) & MASK for step in (1, 2, 3)]
    expected = [((splitmix(step) >> 12) + 0.5) / 2**52 for step in steps]
    assert coins(7, 3).tolist() == expected


def test_the_noise_of_an_item_is_a_function_of_its_hash_and_the_seed() -> None:
    state = splitmix(splitmix(7) ^ 0x8CB92BA72F3D8DD7)
    unit = ((splitmix(state ^ int(HASHES[3])) >> 12) + 0.5) / 2**52
    assert gumbel_noise(7, HASHES)[3] == pytest.approx(-np.log(-np.log(unit)), rel=1e-12)


def test_an_items_noise_does_not_depend_on_the_items_beside_it() -> None:
    whole = gumbel_noise(11, HASHES)
    assert gumbel_noise(11, HASHES[::-7]).tolist() == whole[::-7].tolist()
    assert gumbel_noise(11, HASHES[:0]).tolist() == []


def test_several_seeds_at_once_give_what_each_gives_alone() -> None:
    seeds = np.array([0, 5, 2**63 - 1])
    assert coins(seeds, 4).tolist() == [coins(int(seed), 4).tolist() for seed in seeds]
    drawn = gumbel_noise(seeds, HASHES[:6])
    assert drawn.tolist() == [gumbel_noise(int(seed), HASHES[:6]).tolist() for seed in seeds]


def test_a_longer_list_begins_with_the_coins_of_a_shorter_one() -> None:
    assert coins(3, 50)[:10].tolist() == coins(3, 10).tolist()


def test_noise_has_the_moments_of_a_gumbel_law_over_items_and_over_seeds() -> None:
    # Mean 0.5772, variance pi^2 / 6 = 1.6449, fourth central moment 14.61: the variance of 5,000
    # draws has the error sqrt((14.61 - 1.6449^2) / 5000) = 0.049.
    for drawn in (gumbel_noise(1, HASHES), gumbel_noise(np.arange(5_000), HASHES[:1])[:, 0]):
        assert np.mean(drawn) == pytest.approx(np.euler_gamma, abs=4 * np.sqrt(1.6449 / 5_000))
        assert np.var(drawn) == pytest.approx(np.pi**2 / 6, abs=4 * 0.049)


def test_coins_are_even_and_know_nothing_of_the_noise_or_of_the_next_seed() -> None:
    # A correlation of 5,000 independent pairs has the error 1 / sqrt(5000).
    first = coins(np.arange(5_000), 2)
    assert np.mean(first < 0.3) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 10_000))
    drawn = gumbel_noise(np.arange(5_000), HASHES[:2])
    pairs = [
        (first[:, 0], first[:, 1]),
        (first[:-1, 0], first[1:, 0]),
        (first[:, 0], drawn[:, 0]),
        (drawn[:, 0], drawn[:, 1]),
        (drawn[:-1, 0], drawn[1:, 0]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))


def test_no_bits_give_a_coin_of_0_or_1_whose_noise_would_be_infinite() -> None:
    lowest, highest = noise._unit(np.array([0, MASK], np.uint64)).tolist()
    assert (lowest, highest) == (2.0**-53, 1 - 2.0**-53)
