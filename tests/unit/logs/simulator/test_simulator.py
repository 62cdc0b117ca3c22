"""The simulated world holds what it promises: the truth is in the log, and the same every time."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from raysys.errors import ConfigError
from raysys.logs.simulator import GENRES, Simulator
from tests.unit.logs.simulator.worlds import LISTS, firsts, log_of, small
from tests.unit.logs.tools import read_and_check

SMALL = small()
DAY_S = 86_400


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return SMALL.write(tmp_path_factory.mktemp("world") / "log")


@pytest.fixture(scope="module")
def log():
    return log_of(SMALL)


@pytest.fixture(scope="module")
def with_lists():
    return small(**LISTS)


def genres_of_items(simulator):
    rows = pa.concat_tables(simulator.items())["GENRES"].to_pylist()
    return np.array([[genre in row.split("|") for genre in GENRES] for row in rows])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(files, tmp_path):
    again = SMALL.write(tmp_path / "again")
    other = small(seed=4).write(tmp_path / "other")
    for one in ("interactions", "items", "users"):
        assert getattr(again, one).read_bytes() == getattr(files, one).read_bytes()
        assert getattr(other, one).read_bytes() != getattr(files, one).read_bytes()


def test_any_block_of_users_is_the_same_when_it_is_made_alone(monkeypatch):
    monkeypatch.setattr("raysys.logs.simulator.people._BLOCK_PICKS", 2000)
    everybody = list(small().interactions())
    assert len(everybody) == 4
    alone = small().block(2)
    assert alone == everybody[2]
    users = {user for table in everybody for user in table["USER_ID"].to_pylist()}
    assert users == {f"u{number}" for number in range(1, 201)}


def test_a_world_travels_to_another_process_as_its_settings():
    small().preference(7, 9, SMALL.begin_s)
    pickled = pickle.dumps(small())
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).preference(7, 9, SMALL.end_s) == SMALL.preference(
        7, 9, SMALL.end_s
    )


def test_the_log_is_one_that_an_import_takes_whole(files, log):
    rows_in, accepted, quarantine = read_and_check(files.interactions)
    assert rows_in == accepted.num_rows == len(log.users)
    assert quarantine.num_rows == 0
    assert set(accepted["event_value"].to_pylist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert pyarrow.csv.read_csv(files.users).num_rows == 200
    assert pyarrow.csv.read_csv(files.items).num_rows == 600


def test_every_user_picks_some_items_each_once_and_time_goes_on(log):
    assert set(log.users.tolist()) == set(range(1, 201))
    assert np.bincount(log.users)[1:].min() >= 10
    assert len(log.users) / 200 == pytest.approx(30, rel=0.15)
    assert len(set(zip(log.users.tolist(), log.items.tolist(), strict=True))) == len(log.users)
    assert (np.diff(log.at_s)[np.diff(log.users) == 0] > 0).all()
    assert SMALL.begin_s <= log.at_s.min()
    assert log.at_s.max() < SMALL.end_s


def test_nothing_is_picked_before_it_is_launched(log):
    launched = np.array(pa.concat_tables(SMALL.items())["CREATION_TIMESTAMP"])
    assert (launched[log.items - 1] <= log.at_s).all()
    is_new = launched > SMALL.begin_s
    assert is_new.mean() == pytest.approx(0.2)
    assert is_new[log.items - 1].any()  # and what comes during the log is picked after
    assert SMALL.preference(7, 600, launched[-1] - 1) == 0
    assert SMALL.preference(7, 600, launched[-1]) > 0


@pytest.mark.parametrize("days", [0, 100, 364])
def test_preferences_are_chances_over_the_catalogue(days):
    chances = SMALL.preference(7, np.arange(1, 601), SMALL.begin_s + days * DAY_S)
    assert chances.min() >= 0
    assert chances.sum() == pytest.approx(1)


def test_first_picks_are_as_surprising_as_the_planted_chances_say():
    """A first pick costs -log p; the planted chances say how much, and how much it varies."""
    simulator = small(num_users=600, share_at_start=1.0)
    log = log_of(simulator)
    first = firsts(log.users)
    users, at_s = log.users[first], log.at_s[first]
    chances = np.array(
        [
            simulator.preference(user, np.arange(1, 601), at)
            for user, at in zip(users.tolist(), at_s.tolist(), strict=True)
        ]
    )  # (U, N)
    costs = -np.log(chances)
    found = -np.log(simulator.preference(users, log.items[first], at_s))
    expected = (chances * costs).sum(axis=1)
    variance = (chances * costs**2).sum(axis=1) - expected**2
    error = (found - expected).sum() / np.sqrt(variance.sum())
    assert abs(error) < 3
    share_of_items = np.bincount(log.items, minlength=601)[1:] / len(log.items)
    popularity = -np.log(share_of_items[log.items[first] - 1])
    assert found.mean() < popularity.mean() - 0.3  # nats: who knows the user knows more


def test_users_drift_from_one_taste_to_another(log):
    last = np.flatnonzero(np.diff(log.users, append=0))
    users, items, at_s = log.users[last], log.items[last], log.at_s[last]
    is_late = at_s > SMALL.begin_s + 240 * DAY_S  # two taste periods after the beginning

    def surprise(when):
        return -np.log(SMALL.attraction(users, items, when)[is_late]).mean()

    assert surprise(at_s) < surprise(SMALL.begin_s) - 0.3


def test_tastes_change_in_a_straight_line_and_go_on_after_the_log():
    begin, half, end = (
        SMALL.attraction(7, 9, SMALL.begin_s + days * DAY_S) for days in (0, 60, 120)
    )
    assert half == pytest.approx((begin + end) / 2)
    assert SMALL.attraction(7, 9, SMALL.end_s + 400 * DAY_S) != SMALL.attraction(7, 9, SMALL.end_s)


def test_the_last_pick_says_more_of_the_next_than_an_old_one(log):
    genres = genres_of_items(SMALL)[log.items - 1]

    def share_a_genre(distance):
        together = log.users[distance:] == log.users[:-distance]
        return (genres[distance:] & genres[:-distance]).any(axis=1)[together].mean()

    assert share_a_genre(1) > share_a_genre(15) + 0.2


def test_popularity_has_a_long_tail(log):
    counts = np.sort(np.bincount(log.items, minlength=601)[1:])[::-1]
    assert counts[:60].sum() > 0.3 * counts.sum()  # a tenth of the items
    assert counts[300:].sum() < 0.3 * counts.sum()  # a half of the items


def test_metadata_tells_about_items():
    """Genres say whom an item attracts, and studios half of the variance of its quality."""
    table = pa.concat_tables(SMALL.items())
    assert len(set(table["TITLE"].to_pylist())) == 600
    genres = genres_of_items(SMALL)
    assert genres.any(axis=0).all()
    assert set(genres.sum(axis=1)) == {1, 2, 3}
    quality = SMALL.all_items.quality[:600]
    log_odds = np.log(quality / (1 - quality))
    studios = np.array(table["STUDIO"].to_pylist())
    means = {studio: log_odds[studios == studio].mean() for studio in set(studios)}
    residual = log_odds - np.array([means[studio] for studio in studios])
    # The own half of the variance of 0.8 ** 2, less what 20 means take of 600 items.
    assert residual.var() == pytest.approx(0.32, rel=0.15)
    favourites = pa.concat_tables(SMALL.users())["FAVOURITE"].to_pylist()
    joined = pa.concat_tables(SMALL.users())["JOINED_AT"].to_numpy()
    alone = [int(np.flatnonzero((genres.sum(axis=1) == 1) & genres[:, k])[0]) for k in range(18)]
    attractions = np.stack(
        [SMALL.attraction(np.arange(1, 201), i + 1, joined) / quality[i] for i in alone], axis=1
    )
    assert [GENRES[k] for k in attractions.argmax(axis=1)] == favourites


def test_lists_come_with_what_was_clicked_in_them(with_lists):
    log = log_of(with_lists)
    rows = [row for row in log.table.to_pylist() if row["IMPRESSION"] is not None]
    assert rows
    length = with_lists.world.list_length
    for row in rows:
        shown = row["IMPRESSION"].split("|")
        assert len(set(shown)) == len(shown) == length
        assert row["ITEM_ID"] in shown
    lists = {row["RECOMMENDATION_ID"]: (row["USER_ID"], row["IMPRESSION"]) for row in rows}
    assert {(r["USER_ID"], r["IMPRESSION"]) for r in rows} == set(lists.values())
    places = [row["IMPRESSION"].split("|").index(row["ITEM_ID"]) for row in rows]
    counts = np.bincount(places, minlength=length)
    # What is looked at halves in about seven places of 0.9.
    assert counts[7:].sum() < 0.75 * counts[:3].sum()


def test_each_event_follows_its_pick_as_often_as_the_world_says(with_lists):
    log = log_of(with_lists)
    kinds = {kind: (log.kinds == kind) for kind in ("click", "watch", "dislike")}
    assert sum(is_kind.sum() for is_kind in kinds.values()) == len(log.kinds)
    assert (np.diff(log.at_s)[np.diff(log.users) == 0] > 0).all()
    clicks = set(zip(log.users[kinds["click"]], log.items[kinds["click"]], strict=True))
    assert len(clicks) == kinds["click"].sum()
    for kind in ("watch", "dislike"):
        follows = list(zip(log.users[kinds[kind]], log.items[kinds[kind]], strict=True))
        assert len(set(follows)) == len(follows)
        assert set(follows) <= clicks
    # With f the share that fits: watch 0.8 f + 0.3 (1 - f), dislike 0.5 (1 - f) of the clicks.
    num_clicks = kinds["click"].sum()
    strays = kinds["dislike"].sum() / num_clicks / 0.5
    assert kinds["watch"].sum() / num_clicks == pytest.approx(0.8 - 0.5 * strays, abs=0.02)
    values = log.table["EVENT_VALUE"].to_numpy()
    assert np.isnan(values[~kinds["watch"]]).all()
    assert ((values[kinds["watch"]] > 0) & (values[kinds["watch"]] <= 1)).all()


def test_ratings_are_higher_where_taste_led(log):
    attraction = SMALL.attraction(log.users, log.items, log.at_s)
    attraction = attraction / SMALL.all_items.quality[log.items - 1]
    ratings = log.table["EVENT_VALUE"].to_numpy()
    assert ratings[attraction > 0.3].mean() == pytest.approx(4.0, abs=0.1)
    assert ratings[attraction < 0.011].mean() == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_users": 0}, "num_users"),
        ({"num_items": 35}, "num_items"),
        ({"mean_history": 19}, "mean_history"),
        ({"persistence": 1.0}, "persistence"),
        ({"num_itmes": 100}, "did you mean 'num_items'"),
    ],
)
def test_a_world_that_cannot_be_is_refused(change, named):
    with pytest.raises(ConfigError, match=named):
        Simulator(**change)


def test_a_world_that_nobody_made_is_refused():
    with pytest.raises(ConfigError, match="no simulated world 'mars'; there are demo"):
        Simulator("mars")


def test_the_truth_about_nobody_and_nothing_is_not_told():
    assert SMALL.attraction(200, 600 + 10 * 60, SMALL.end_s) > 0  # the last of the days after
    for user, item in ((0, 1), (201, 1), (1, 0), (1, 1201)):
        with pytest.raises(
            ValueError, match=r"This world has the (users 1 to 200|items 1 to 1200)"
        ):
            SMALL.attraction(user, item, SMALL.end_s)


def test_settings_of_a_world_may_be_changed_whether_it_is_given_by_name_or_whole():
    changed = Simulator(SMALL.world, seed=3, num_users=5)
    assert changed.world == small(num_users=5).world
    with pytest.raises(ConfigError, match="num_users"):
        Simulator(SMALL.world, num_users=0)
