"""The worlds are frozen: figures of different days may be compared only in the same world."""

import hashlib
import json

import pytest

from raysys.errors import ConfigError
from raysys.logs.simulator import Simulator, load_world, world_names

# Of the settings of each world. A world that is needed otherwise gets another name.
FROZEN = {
    "demo": "c4214022b3792418",
    "new-like-old": "e427494f8eafe8ba",
    "new-mostly-poor": "ec4f2c285983c66f",
}
# Of the first 100 rows of each world's log with seed 0. Two worlds differ after their logs alone.
FIRST_ROWS = {
    "demo": "c9fc9da46687d643",
    "new-like-old": "eb84bb0499d193b5",
    "new-mostly-poor": "eb84bb0499d193b5",
}


def hash_of(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def test_there_are_these_worlds():
    assert world_names() == list(FROZEN)


@pytest.mark.parametrize("name", FROZEN)
def test_no_setting_of_a_frozen_world_has_changed(name):
    assert hash_of(load_world(name).model_dump(mode="json")) == FROZEN[name]


@pytest.mark.parametrize("name", FIRST_ROWS)
def test_what_happens_in_a_frozen_world_has_not_changed(name):
    first = next(Simulator(name).interactions()).slice(0, 100)
    assert hash_of(first.drop_columns("EVENT_VALUE").to_pylist()) == FIRST_ROWS[name]


def test_the_two_worlds_of_new_items_differ_in_the_share_of_poor_ones_alone():
    like_old, poor = (load_world(name) for name in ("new-like-old", "new-mostly-poor"))
    assert poor.model_copy(update={"share_poor": 0.0}) == like_old
    assert poor.share_poor == 0.7


def test_a_setting_out_of_its_bounds_is_named():
    with pytest.raises(
        ConfigError,
        match="No valid World can be made of the simulated world 'new-like-old':\n  examination",
    ):
        load_world("new-like-old", examination=1.5)
