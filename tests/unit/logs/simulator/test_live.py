"""The days after the log: people react to lists as the truth says, to every policy alike."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from raysys.logs.simulator import Simulator
from raysys.logs.simulator.live import Shown, live
from raysys.logs.simulator.visits import Visits, together, visits_of_day
from tests.unit.logs.simulator.worlds import log_of

DAYS = 4
WORLD = {"num_users": 150, "num_items": 120, "mean_history": 20}


def world(seed: int = 1, name: str = "new-like-old", **changes: object) -> Simulator:
    return Simulator(name, seed=seed, **(WORLD | changes))


class AtRandom:
    """Shows items that are launched, each as likely as any other, and remembers what came of it."""

    def __init__(self, simulator: Simulator, length: int = 10, *, seed: int = 0) -> None:
        self.num_launched = simulator.world.num_items
        self.length = length
        self.rng = np.random.default_rng(seed)
        self.shown: list[Shown] = []
        self.new_items: list[pa.Table] = []

    def begin_day(self, day: int, new_items: pa.Table) -> None:
        self.new_items.append(new_items)
        self.num_launched += new_items.num_rows

    def recommend(self, visits: Visits) -> Sequence[Sequence[str]]:
        return [self.ids(self.rng.permutation(self.num_launched)) for _ in visits.user_ids]

    def observe(self, shown: Shown) -> None:
        self.shown.append(shown)

    def ids(self, items: np.ndarray) -> list[str]:
        return [f"i{item + 1}" for item in items[: self.length]]


class Knowing(AtRandom):
    """Shows what attracts most, of what the user has not taken: nobody can do better."""

    def __init__(self, simulator: Simulator, *, shows_new: bool = True) -> None:
        super().__init__(simulator)
        self.simulator = simulator
        self.shows_new = shows_new
        log = log_of(simulator)
        self.taken = {(u, i) for u, i in zip(log.users.tolist(), log.items.tolist(), strict=True)}

    def recommend(self, visits: Visits) -> Sequence[Sequence[str]]:
        num = self.num_launched if self.shows_new else self.simulator.world.num_items
        return [self._best(*who, num) for who in zip(visits.user_nums, visits.at_s, strict=True)]

    def _best(self, user: int, at_s: int, num: int) -> list[str]:
        attraction = self.simulator.attraction(user, np.arange(1, num + 1), at_s)
        is_taken = np.array([(user, item + 1) in self.taken for item in range(num)])
        return self.ids(np.argsort(-np.where(is_taken, 0.0, attraction)))

    def observe(self, shown: Shown) -> None:
        users = shown.visits.user_nums[shown.rows][shown.is_clicked]
        self.taken |= set(
            zip(users.tolist(), shown.item_nums[shown.is_clicked].tolist(), strict=True)
        )


@pytest.fixture(scope="module")
def at_random():
    simulator = world(visits_per_day=10.0)
    policy = AtRandom(simulator)
    days = list(live(simulator, policy, DAYS))
    return simulator, policy, days


def joined(shown, name):
    return np.concatenate([getattr(one, name) for one in shown])


def test_clicks_come_as_often_as_the_true_chances_say(at_random):
    """By chance, by place and in all: binomial sums stay within 4 standard deviations."""
    _, policy, _ = at_random
    chances, is_clicked, positions = (
        joined(policy.shown, name) for name in ("click_chances", "is_clicked", "positions")
    )
    assert is_clicked.sum() > 1000
    strata = [np.ones(len(chances), bool)]
    strata += [positions == place for place in range(10)]
    edges = np.quantile(chances[chances > 0], [0, 0.5, 0.8, 0.95, 1])
    strata += [
        (low < chances) & (chances <= high) for low, high in zip(edges, edges[1:], strict=False)
    ]
    for here in strata:
        expected, variance = chances[here].sum(), (chances * (1 - chances))[here].sum()
        assert abs(is_clicked[here].sum() - expected) < 4 * np.sqrt(variance)
    assert not is_clicked[chances == 0].any()


def test_true_chances_are_attraction_times_examination_and_nothing_is_taken_twice(at_random):
    simulator, policy, _ = at_random
    log = log_of(simulator)
    taken = set(zip(log.users.tolist(), log.items.tolist(), strict=True))
    for shown in policy.shown[:40]:
        users, at_s = shown.visits.user_nums[shown.rows], shown.visits.at_s[shown.rows]
        truth = simulator.attraction(users, shown.item_nums, at_s) * 0.9**shown.positions
        pairs = list(zip(users.tolist(), shown.item_nums.tolist(), strict=True))
        is_taken = np.array([pair in taken for pair in pairs])
        assert shown.click_chances == pytest.approx(np.where(is_taken, 0, truth))
        taken |= {pair for pair, is_it in zip(pairs, shown.is_clicked, strict=True) if is_it}


def test_what_a_list_is_worth_can_be_asked(at_random):
    simulator, policy, _ = at_random
    shown = policy.shown[0]
    first = shown.rows == 0
    worth = simulator.click_chances(
        int(shown.visits.user_nums[0]), shown.item_nums[first], int(shown.visits.at_s[0])
    )
    never_taken = shown.click_chances[first] > 0
    assert worth[never_taken] == pytest.approx(shown.click_chances[first][never_taken])
    assert never_taken.any()


def test_events_tell_of_every_click_and_of_the_list_it_was_in(at_random):
    _, policy, _ = at_random
    for shown in policy.shown[:40]:
        users, clicked = shown.visits.user_ids, shown.is_clicked
        told = [row for row in shown.events.to_pylist() if row["EVENT_TYPE"] == "click"]
        assert sorted((row["USER_ID"], row["ITEM_ID"]) for row in told) == sorted(
            (users[row], f"i{item}")
            for row, item in zip(shown.rows[clicked], shown.item_nums[clicked], strict=True)
        )
        arrived = dict(zip(users, shown.visits.at_s.tolist(), strict=True))
        for row in told:
            its_list = shown.item_nums[shown.rows == users.index(row["USER_ID"])]
            assert row["IMPRESSION"] == "|".join(f"i{item}" for item in its_list)
            assert row["TIMESTAMP"] >= arrived[row["USER_ID"]]
    names = {
        (row["USER_ID"], row["RECOMMENDATION_ID"])
        for shown in policy.shown
        for row in shown.events.to_pylist()
    }
    assert len({name for _, name in names}) == len(names)  # no two visits share one


def test_new_items_come_every_day_and_impressions_are_counted(at_random):
    simulator, policy, days = at_random
    assert [day.num_new_items for day in days] == [40] * DAYS
    first_new = simulator.world.num_items + 1
    assert policy.new_items[1]["ITEM_ID"].to_pylist()[0] == f"i{first_new + 40}"
    launched = policy.new_items[1]["CREATION_TIMESTAMP"].to_pylist()
    assert set(launched) == {simulator.end_s + 86_400}
    items, clicks = joined(policy.shown, "item_nums"), joined(policy.shown, "is_clicked")
    counted = days[-1].new_item_impressions
    assert counted == {
        f"i{item}": int((items == item).sum()) for item in range(first_new, first_new + 40 * DAYS)
    }
    assert sum(day.num_clicks for day in days) == clicks.sum()
    assert sum(day.num_shown for day in days) == len(items)
    chances = joined(policy.shown, "click_chances")
    assert sum(day.expected_clicks for day in days) == pytest.approx(chances.sum())


def test_the_same_policy_lives_the_same_days_again_and_another_meets_the_same_people(at_random):
    simulator, policy, days = at_random
    again = AtRandom(simulator)
    assert list(live(simulator, again, 1)) == days[:1]
    other = AtRandom(simulator, seed=5)
    list(live(simulator, other, 1))
    num_first_day = days[0].num_visits
    for name in ("user_nums", "at_s", "visit_nums"):
        visits = [
            np.concatenate([getattr(shown.visits, name) for shown in one.shown])[:num_first_day]
            for one in (policy, other)
        ]
        assert (visits[0] == visits[1]).all()
    decisions = [
        {
            (visit, item, place): clicked
            for shown in one.shown[:30]
            for visit, item, place, clicked in zip(
                shown.visits.visit_nums[shown.rows].tolist(),
                shown.item_nums.tolist(),
                shown.positions.tolist(),
                shown.is_clicked.tolist(),
                strict=True,
            )
        }
        for one in (policy, other)
    ]
    both = decisions[0].keys() & decisions[1].keys()
    assert len(both) > 20
    assert sum(decisions[0][each] != decisions[1][each] for each in both) <= 1  # taken by one only


def test_nobody_comes_twice_among_visits_that_are_shown_together():
    simulator = world(visits_per_day=10.0)
    visits = visits_of_day(simulator.people, 0)
    groups = list(together(visits, 64))
    assert max(len(group) for group in groups) <= 64
    assert all(len(set(group.user_ids)) == len(group) for group in groups)
    for name in ("user_nums", "at_s", "visit_nums"):
        assert (np.concatenate([getattr(g, name) for g in groups]) == getattr(visits, name)).all()
    assert (np.diff(visits.at_s) >= 0).all()
    assert len(visits) / 150 == pytest.approx(10, rel=0.1)


def test_who_knows_the_truth_earns_most_and_runs_dry_without_new_items():
    simulator = world(visits_per_day=2.0)
    all_items, old_items = (
        [day.expected_clicks for day in live(simulator, Knowing(simulator, shows_new=one), DAYS)]
        for one in (True, False)
    )
    at_random = sum(day.expected_clicks for day in live(simulator, AtRandom(simulator), DAYS))
    assert sum(all_items) > sum(old_items) > 2 * at_random
    assert old_items[-1] < 0.9 * old_items[0]
    assert all_items[-1] > old_items[-1] * 1.2


def test_new_items_are_as_good_as_old_ones_in_one_world_and_mostly_poor_in_the_other():
    like_old, poor = (world(name=name) for name in ("new-like-old", "new-mostly-poor"))
    old, new = np.split(like_old.all_items.quality, [120])
    standard_error = np.sqrt(old.var() / len(old) + new.var() / len(new))
    assert abs(old.mean() - new.mean()) < 3 * standard_error + 0.05  # studios are drawn once
    is_poor = poor.all_items.is_poor
    assert not is_poor[:120].any()
    assert is_poor[120:].mean() == pytest.approx(0.7, abs=0.05)
    ratio = poor.all_items.quality / like_old.all_items.quality
    assert ratio[is_poor] == pytest.approx(0.1)
    assert ratio[~is_poor] == pytest.approx(1.0)
    assert list(poor.items(3)) == list(like_old.items(3))  # metadata does not tell


@pytest.mark.parametrize(
    ("lists", "named"),
    [
        (lambda visits: [["i1", "i1"]] * len(visits), "an item twice"),
        (lambda visits: [["i161"]] * len(visits), "'i161' was shown, but no such item"),
        (lambda visits: [["film 7"]] * len(visits), "'film 7' was shown, but no such item"),
        (lambda visits: [["i1"]] * (len(visits) + 1), "people came, but"),
    ],
)
def test_lists_that_cannot_be_shown_are_refused(lists, named):
    simulator = world()
    policy = AtRandom(simulator)
    policy.recommend = lists
    with pytest.raises(ValueError, match=named):
        next(live(simulator, policy, 1))


def test_more_days_than_the_world_has_are_refused():
    with pytest.raises(ValueError, match="60 days after its log, but 61"):
        next(live(world(), AtRandom(world()), 61))
