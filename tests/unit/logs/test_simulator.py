"""The simulated world holds what it promises: the truth is in the log, and the same every time."""

import numpy as np
import pyarrow.csv
import pytest

from raysys.errors import ConfigError
from raysys.logs.simulator import GENRES, Simulator
from tests.unit.logs.tools import read_and_check

SMALL = Simulator(seed=3, num_users=200, num_items=600, mean_history=30)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return SMALL.write(tmp_path_factory.mktemp("world") / "log")


@pytest.fixture(scope="module")
def picks(log):
    """(user number, item number, second) of each row, ordered by user and time."""
    table = pyarrow.csv.read_csv(log.interactions).sort_by(
        [("USER_ID", "ascending"), ("TIMESTAMP", "ascending")]
    )
    users, items = (
        np.array([int(text[1:]) for text in table[name].to_pylist()])
        for name in ("USER_ID", "ITEM_ID")
    )
    return users, items, table["TIMESTAMP"].to_numpy()


def genres_of_items(log):
    rows = pyarrow.csv.read_csv(log.items).to_pylist()
    return np.array([[genre in row["GENRES"].split("|") for genre in GENRES] for row in rows])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(log, tmp_path):
    again = SMALL.write(tmp_path / "again")
    other = Simulator(seed=4, num_users=200, num_items=600, mean_history=30).write(tmp_path / "o")
    for one in ("interactions", "items"):
        assert getattr(again, one).read_bytes() == getattr(log, one).read_bytes()
        assert getattr(other, one).read_bytes() != getattr(log, one).read_bytes()


def test_the_log_is_one_that_an_import_takes_whole(log, picks):
    rows_in, accepted, quarantine = read_and_check(log.interactions)
    assert rows_in == accepted.num_rows == len(picks[0])
    assert quarantine.num_rows == 0
    assert set(accepted["event_value"].to_pylist()) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_every_user_picks_some_items_each_once_and_time_goes_on(picks):
    users, items, seconds = picks
    assert set(users.tolist()) == set(range(1, 201))
    assert np.bincount(users)[1:].min() >= 10
    assert len(users) / 200 == pytest.approx(30, rel=0.15)
    assert len(set(zip(users.tolist(), items.tolist(), strict=True))) == len(users)
    assert (np.diff(seconds)[np.diff(users) == 0] > 0).all()


def test_preferences_are_chances_over_the_catalogue():
    chances = SMALL.preference(7, np.arange(1, 601))
    assert chances.min() > 0
    assert chances.sum() == pytest.approx(1)
    between = (SMALL.preference(7, 9, at=0) + SMALL.preference(7, 9)) / 2
    assert SMALL.preference(7, 9, at=0.5) == pytest.approx(between)


def test_what_users_pick_first_is_what_they_prefer_at_the_start(picks):
    users, items, _ = picks
    first = np.flatnonzero(np.diff(users, prepend=0))
    everybody = np.bincount(items, minlength=601) / len(items)
    truth = np.log(SMALL.preference(users[first], items[first], at=0)).mean()
    popularity = np.log(everybody[items[first]]).mean()
    assert truth > popularity + 0.5  # nats a pick


def test_users_drift_from_one_taste_to_another(picks):
    users, items, _ = picks
    last = np.flatnonzero(np.diff(users, append=0))
    at_end = np.log(SMALL.preference(users[last], items[last], at=1)).mean()
    at_start = np.log(SMALL.preference(users[last], items[last], at=0)).mean()
    assert at_end > at_start + 0.5


def test_the_last_pick_says_more_of_the_next_than_an_old_one(log, picks):
    users, items, _ = picks
    genres = genres_of_items(log)[items - 1]

    def share_a_genre(distance):
        together = users[distance:] == users[:-distance]
        return (genres[distance:] & genres[:-distance]).any(axis=1)[together].mean()

    assert share_a_genre(1) > share_a_genre(15) + 0.2


def test_popularity_has_a_long_tail(picks):
    counts = np.sort(np.bincount(picks[1], minlength=601)[1:])[::-1]
    assert counts[:60].sum() > 0.3 * counts.sum()  # a tenth of the items
    assert counts[300:].sum() < 0.3 * counts.sum()  # a half of the items


def test_items_have_distinct_titles_and_every_genre_is_there(log):
    table = pyarrow.csv.read_csv(log.items)
    assert len(set(table["TITLE"].to_pylist())) == 600
    assert genres_of_items(log).any(axis=0).all()
    assert genres_of_items(log).sum(axis=1).max() <= 3


def test_users_of_every_block_have_preferences(monkeypatch):
    monkeypatch.setattr("raysys.logs.simulator._BLOCK_USERS", 64)
    world = Simulator(seed=3, num_users=130, num_items=600, mean_history=30)
    assert world.preference(np.array([1, 64, 65, 130]), 1).shape == (4,)
    users = {user for table in world.interactions() for user in table["USER_ID"].to_pylist()}
    assert users == {f"u{number}" for number in range(1, 131)}


@pytest.mark.parametrize(
    "setting", [{"num_users": 0}, {"num_items": 35}, {"mean_history": 19}, {"persistence": 1.0}]
)
def test_a_world_that_cannot_be_is_refused(setting):
    with pytest.raises(ConfigError):
        Simulator(**setting)
