"""Answers are put together from impressions, however those are cut, and damage is told."""

import numpy as np
import pyarrow as pa
import pytest

from raysys.errors import DatasetError
from raysys.evaluation.off_policy_log import AnswerReader, LoggedAnswers, Way
from raysys.hashing import stable_hash
from raysys.logs.event_export import impressions_of
from raysys.state.log_reader import StoredSlate
from tests.unit.state.builders import slate


def log() -> pa.Table:
    known = {"also_relevant": (), "nothing_relevant": ()}
    lists = [
        (slate("RID-1", **known), frozenset({"b"})),
        (slate("RID-2", user_id="bob", release="r-2", explored=(0, 1), **known), frozenset()),
        (slate("RID-3", user_id=None, item_id="x", explored=(), **known), frozenset()),
        (
            slate(
                "RID-4",
                user_id="eve",
                exploration_weight=0.5,
                item_ids=("a", "b", "c"),
                propensities=(0.5, 0.25, 1.0),
                explored=(1,),
                also_relevant=(1,),
                nothing_relevant=(),
            ),
            frozenset({"a", "c"}),
        ),
    ]
    return impressions_of([StoredSlate(n, *each) for n, each in enumerate(lists)])


def as_lists(blocks: list[LoggedAnswers]) -> list[tuple[object, ...]]:
    """Return the answers without what only fills up blocks."""
    found = []
    for block in blocks:
        for row in range(len(block)):
            filled = block.ways[row] != Way.NOTHING
            places = [
                values[row][filled].tolist()
                for values in (block.propensities, block.ways, block.clicked)
            ]
            assert (block.propensities[row][~filled] == 1).all()
            found.append((int(block.user_hashes[row]), float(block.weights[row]), *places))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_a_log_is_read_alike_however_its_rows_are_cut(size: int) -> None:
    table = log()
    reader = AnswerReader()
    pieces = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    assert as_lists(list(reader.read(pieces))) == [
        (stable_hash("ann"), 0.25, [0.75, 0.1], [Way.RELEVANT, Way.EXPLORED], [False, True]),
        (stable_hash("bob"), 0.25, [0.75, 0.1], [Way.EXPLORED] * 2, [False, False]),
        (
            stable_hash("eve"),
            0.5,
            [0.5, 0.25, 1.0],
            [Way.RELEVANT, Way.BOTH, Way.RELEVANT],
            [True, False, True],
        ),
    ]
    assert (reader.counts.answers, reader.counts.without_user) == (4, 1)
    assert reader.releases == {"r-1": 2, "r-2": 1}


def test_the_answers_of_one_release_can_be_read_alone() -> None:
    reader = AnswerReader("r-2")
    (answers,) = reader.read([log()])
    assert answers.user_hashes.tolist() == [stable_hash("bob")]
    assert reader.counts.of_other_releases == 2
    assert reader.releases == {"r-1": 2, "r-2": 1}


def test_an_empty_log_has_no_answers() -> None:
    assert list(AnswerReader().read([log().slice(0, 0)])) == []


@pytest.mark.parametrize("rows", [[0, 0], [1, 0], [1]])
def test_a_list_that_is_not_whole_or_not_in_order_is_refused(rows: list[int]) -> None:
    table = log().take([*rows, *range(2, 6)])
    with pytest.raises(DatasetError, match="'RID-1' has position .* whole and in order"):
        list(AnswerReader().read([table]))


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.1, np.nan])
def test_a_propensity_that_is_no_chance_is_refused(propensity: float) -> None:
    table = log()
    values = table["propensity"].to_numpy().copy()
    values[3] = propensity
    place = table.schema.get_field_index("propensity")
    damaged = table.set_column(place, table.schema.field(place), pa.array(values))
    with pytest.raises(DatasetError, match="'RID-2' has the propensity .* at position 1"):
        list(AnswerReader().read([damaged]))
