"""Event types in numbers: which there are, and that they say something."""

from pathlib import Path

import pyarrow as pa
import pytest

from raysys.config import EventType, FeedbackConfig
from raysys.dataset import event_types as event_types_module
from raysys.dataset.dataset import open_dataset
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes, find_event_types
from raysys.state.user_state import Interaction
from tests.unit.dataset.builders import TypedRow, interactions, write_dataset

EVERYTHING = FeedbackConfig()


def found(
    *types: str | None, feedback: FeedbackConfig = EVERYTHING, known: EventTypes = NO_EVENT_TYPES
) -> tuple[str, ...]:
    half = len(types) // 2
    tables = [
        interactions([("u", "i", at, kind) for at, kind in enumerate(part)])
        for part in (types[:half], types[half:])
    ]
    return find_event_types(tables, feedback, known=known).names


def test_the_most_frequent_type_comes_first_and_among_equals_the_first_by_name() -> None:
    assert found("view", "buy", "view", "add", "view") == ("view", "add", "buy")


@pytest.mark.parametrize("types", [[], ["view"] * 3, [None] * 3])
def test_where_all_are_of_one_type_none_is_told_apart(types: list[str | None]) -> None:
    assert found(*types) == ()


def test_events_without_a_type_are_one_more_kind() -> None:
    assert found("view", None, "view") == ("view",)


def test_only_types_of_what_is_read_count() -> None:
    buys = FeedbackConfig(event_types=(EventType(event_type="buy"),))
    assert found("view", "buy", "view", feedback=buys) == ()
    read = (EventType(event_type="buy"), EventType(event_type="view", weight=0))
    feedback = FeedbackConfig(event_types=read, negative_event_types=("skip",))
    assert found("view", "buy", "skip", "skip", feedback=feedback) == ("buy", "view")


def test_known_types_keep_their_numbers_and_new_ones_follow() -> None:
    known = EventTypes(names=("buy", "rent"))
    assert found("view", "view", "buy", "add", known=known) == ("buy", "rent", "view", "add")
    assert found("buy", "buy", known=known) == ("buy", "rent")


def test_of_very_many_types_the_most_frequent_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_types_module, "MAX_EVENT_TYPES", 2)
    assert found("a", "b", "c", "c", "b") == ("b", "c")


def test_numbers_begin_with_1_and_what_is_not_known_is_0() -> None:
    types = EventTypes(names=("view", "buy"))
    array = pa.array(["buy", None, "view", "new"], pa.string())
    assert types.numbers(array).tolist() == [2, 0, 1, 0]
    assert types.numbers(pa.chunked_array([array, array[:1]])).tolist() == [2, 0, 1, 0, 2]
    assert NO_EVENT_TYPES.numbers(array).tolist() == [0, 0, 0, 0]


def test_events_of_the_database_have_the_numbers_of_the_log() -> None:
    told = [Interaction("i", at, kind) for at, kind in enumerate(["buy", "new", "view"])]
    assert EventTypes(names=("view", "buy")).numbers_of_interactions(told).tolist() == [2, 0, 1]
    assert NO_EVENT_TYPES.numbers_of_interactions(told).tolist() == [0, 0, 0]


def test_types_are_opened_as_they_were_saved(tmp_path: Path) -> None:
    types = EventTypes(names=("view", "buy"))
    types.save(tmp_path / "types.json")
    assert EventTypes.open(tmp_path / "types.json") == types


def test_each_interaction_of_a_dataset_has_the_number_of_its_type(tmp_path: Path) -> None:
    shards: list[list[TypedRow]] = [
        [("ann", "x", 1, "view"), ("ann", "x", 2, "buy"), ("cat", "y", 3, None)],
        [("bob", "y", 4, "view")],
    ]
    dataset = open_dataset(write_dataset(tmp_path, shards))
    types = find_event_types(dataset.interactions(["event_type", "event_value"]), EVERYTHING)
    histories = dataset.histories(dataset.item_vocabulary(), EVERYTHING, types)
    assert histories.user_ids.to_pylist() == ["ann", "bob", "cat"]
    assert types.names == ("view", "buy")
    assert histories.event_types is not None
    assert histories.event_types.tolist() == [1, 2, 1, 0]
    assert dataset.histories(dataset.item_vocabulary()).event_types is None
