"""A simulated world in which what any exploration weight earns is known, and logs of it.

People of the simulator are shown five of forty old and six new items by the slot mixture. Some new
items are relevant to some people too, so that they come to a place either way. What a weight earns
is summed up over every list that it may show.

Letters for shapes: U people, F new items, K places.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from raysys.evaluation.off_policy_log import AnswerReader
from raysys.evaluation.off_policy_totals import WeightTotals
from raysys.hashing import stable_hashes
from raysys.logs.event_export import impressions_of
from raysys.logs.simulator import Simulator
from raysys.policy.candidates import FreshBatch
from raysys.policy.noise import coins, gumbel_noise
from raysys.policy.policies import SlotMixture
from raysys.policy.slot_mixture import mix_all
from raysys.state.log_reader import StoredSlate
from tests.unit.policy.pools import each_of
from tests.unit.state.builders import slate

NUM_PLACES, NUM_OLD, NUM_NEW, NUM_PEOPLE = 5, 40, 6, 200


@dataclasses.dataclass(frozen=True)
class LoggedWorld:
    """Key 1 is the first old item; the new items come last."""

    attraction: np.ndarray
    """(U, 46)"""
    relevant: np.ndarray
    """(U, K) keys, best first."""
    logits: np.ndarray
    """(U, F)"""
    looks: np.ndarray
    """(K,) the chance that somebody looks at a place."""

    @classmethod
    def of_simulator(cls, seed: int = 0) -> "LoggedWorld":
        world = Simulator("new-like-old", seed=seed, num_users=NUM_PEOPLE)
        users = np.repeat(np.arange(NUM_PEOPLE) + 1, NUM_OLD + NUM_NEW)
        items = np.tile(np.arange(NUM_OLD + NUM_NEW) + 1, NUM_PEOPLE)
        attraction = world.attraction(users, items, world.end_s).reshape(NUM_PEOPLE, -1)
        rng = np.random.default_rng(seed)
        scores = np.log(attraction) + rng.normal(0, 1.5, attraction.shape)
        relevant = np.argsort(-scores, axis=1)[:, :NUM_PLACES] + 1
        counts = rng.integers(0, 5, NUM_NEW)
        mixture = SlotMixture(temperature=1.0, evidence=1.0, bonus=3.0)
        logits = scores[:, NUM_OLD:] + mixture.appeal(counts, counts // 3, 0 * counts, 0.2)
        looks = world.world.examination ** np.arange(NUM_PLACES)
        return cls(attraction, relevant, logits, looks)

    @cached_property
    def _places(self) -> np.ndarray:
        """Return where each item stands in the order of relevance, (U, 46); K: nowhere."""
        places = np.full(self.attraction.shape, NUM_PLACES)
        np.put_along_axis(places, self.relevant - 1, np.arange(NUM_PLACES)[None], axis=1)
        return places

    def clicks_per_answer(self, weight: float, *, draws_alike: bool = False) -> float:
        """Return what a weight earns: the mean over all people, the sum over all lists.

        Args:
            draws_alike: by epsilon-greedy, else by the slot mixture.
        """
        people = np.arange(len(self.attraction))
        masses = np.exp(0 * self.logits if draws_alike else self.logits)
        chances = {(frozenset[int](), 0): np.ones(len(people))}
        earned = np.zeros(len(people))
        old = np.sort(
            np.where(self._places[:, :NUM_OLD] < NUM_PLACES, self._places[:, :NUM_OLD], 9)
        )
        for place in range(NUM_PLACES):
            below: dict[tuple[frozenset[int], int], np.ndarray] = {}
            for (placed, num_old), chance in chances.items():
                left = [new for new in range(NUM_NEW) if new not in placed]
                of_new = self._places[:, NUM_OLD + np.array(left)]
                next_place = np.minimum(of_new.min(axis=1), old[:, num_old])
                is_any = next_place < NUM_PLACES
                item = self.relevant[people, np.minimum(next_place, NUM_PLACES - 1)] - 1
                explores = np.where(is_any, weight, 1.0 if weight > 0 else 0.0)
                follows = (1 - explores) * is_any
                earned += chance * follows * self.looks[place] * self.attraction[people, item]
                is_old = item < NUM_OLD
                _add(below, (placed, num_old + 1), chance * follows * is_old)
                for new in left:
                    drawn = explores * masses[:, new] / masses[:, left].sum(axis=1)
                    earned += chance * drawn * self.looks[place] * self.attraction[:, NUM_OLD + new]
                    both = drawn + follows * (item == NUM_OLD + new)
                    _add(below, (placed | {new}, num_old), chance * both)
            chances = below
        return float(earned.mean())

    def log(self, seed: int, weights: list[float], num_users: int = 250) -> list[StoredSlate]:
        """Return answers to people who come again and again, each with one of the weights."""
        rng = np.random.default_rng((seed, 1))
        visits = 1 + rng.poisson(3, num_users)
        user = np.repeat(np.arange(num_users), visits)
        person = rng.integers(0, len(self.attraction), num_users)[user]
        seeds = rng.integers(0, 2**62, len(user))
        logits = self.logits[person]
        noise = gumbel_noise(seeds, stable_hashes(str(key) for key in range(NUM_NEW)))
        keys = np.tile(np.arange(NUM_NEW) + NUM_OLD + 1, len(user))
        fresh = FreshBatch(
            np.arange(len(user) + 1) * NUM_NEW,
            keys,
            logits.ravel(),
            (logits + noise).ravel(),
            np.full(len(user), -np.inf),
        )
        weight = rng.choice(weights, len(user))
        mixed = mix_all(
            list(self.relevant[person]),
            fresh,
            [NUM_PLACES] * len(user),
            weight,
            coins(seeds, NUM_PLACES),
        )
        shown = mixed.keys.reshape(len(user), NUM_PLACES)
        chances = self.looks * np.take_along_axis(self.attraction[person], shown - 1, axis=1)
        clicked = rng.random(chances.shape) < chances
        stored = []
        for row, one in enumerate(each_of(mixed)):
            explored = np.flatnonzero(one.is_explored)
            made = slate(
                f"RID-{row}",
                user_id=f"u{user[row]}-of-{seed}",
                exploration_weight=float(weight[row]),
                item_ids=tuple(map(str, one.keys.tolist())),
                propensities=tuple(one.propensities.tolist()),
                explored=tuple(explored.tolist()),
                also_relevant=tuple(explored[one.is_relevant[explored]].tolist()),
                nothing_relevant=tuple(explored[~one.has_relevant[explored]].tolist()),
                fresh_item_ids=tuple(map(str, one.keys[one.is_fresh].tolist())),
                num_fresh=NUM_NEW,
            )
            clicks = frozenset(map(str, one.keys[clicked[row]].tolist()))
            stored.append(StoredSlate(row, made, clicks))
        return stored


def totals_of(
    log: Sequence[StoredSlate],
    weights: Sequence[float],
    block: int = 1_000,
    *,
    draws_alike: bool = False,
) -> list[WeightTotals]:
    """Return what off-policy evaluation keeps of a log for each other weight, read in blocks."""
    totals = [WeightTotals(weight, draws_alike) for weight in weights]
    tables = (impressions_of(log[start : start + block]) for start in range(0, len(log), block))
    for answers in AnswerReader().read(tables):
        for each in totals:
            each.add(answers)
    return totals


def _add(
    chances: dict[tuple[frozenset[int], int], np.ndarray],
    state: tuple[frozenset[int], int],
    chance: np.ndarray,
) -> None:
    if chance.any():
        chances[state] = chances.get(state, 0.0) + chance
