"""The one rule that says which events count, and how much."""

import pyarrow as pa
import pytest

from raysys import tables
from raysys.config import FeedbackConfig, PipelineConfig, parse_config
from raysys.dataset.dataset import shard_histories
from raysys.dataset.feedback import weights_of, weights_of_interactions
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError
from raysys.state.user_state import Interaction

OUT = SEEN_ONLY
Event = tuple[str | None, float | None]


def weights(config: FeedbackConfig, *events: Event) -> list[float]:
    """Return what each (type, value) weighs; OUT where it does not count."""
    types, values = zip(*events, strict=True)
    found = weights_of(pa.array(types, pa.string()), pa.array(values, pa.float64()), config)
    return found.tolist()


def config(**members: object) -> FeedbackConfig:
    return parse_config(members, FeedbackConfig, source="a test")


def rule(event_type: str, **members: object) -> dict[str, object]:
    return {"event_type": event_type, **members}


def test_a_value_must_be_more_than_the_feedback_threshold():
    values = [(None, 3.0), ("rate", 3.0000000001), ("rate", None), ("rate", 4.0)]
    assert weights(config(feedback_threshold=3), *values) == [OUT, 1, OUT, 1]


def test_a_value_must_reach_the_event_value_threshold():
    values = [(None, 3.0), ("rate", 2.9999999999), ("rate", None), ("rate", 4.0)]
    assert weights(config(event_value_threshold=3), *values) == [1, OUT, OUT, 1]


def test_only_events_of_the_named_types_count():
    chosen = config(event_types=[rule("buy"), rule("click")])
    events = [("buy", None), ("view", 9.0), (None, None), ("click", 0.0), ("Buy", None), ("", None)]
    assert weights(chosen, *events) == [1, OUT, OUT, 1, OUT, OUT]


def test_each_type_has_its_own_threshold_and_weight():
    chosen = config(
        event_types=[
            rule("watch", event_value_threshold=0.5, weight=0.25),
            rule("buy"),
            rule("view", weight=0),
        ]
    )
    events = [("watch", 0.5), ("watch", 0.49), ("watch", None), ("buy", None), ("view", -1.0)]
    assert weights(chosen, *events) == [0.25, OUT, OUT, 1, 0]


def test_every_threshold_must_be_passed():
    chosen = config(
        event_types=[rule("watch", event_value_threshold=2)],
        event_value_threshold=3,
        feedback_threshold=4,
    )
    events = [("watch", value) for value in (2.0, 3.0, 4.0, 5.0)]
    assert weights(chosen, *events) == [OUT, OUT, OUT, 1]


def test_negative_events_do_not_count_whatever_their_value():
    chosen = config(negative_event_types=["dislike", "skip"], feedback_threshold=3)
    events = [("dislike", None), ("skip", 0.0), ("dislike", 9.0), ("rate", 9.0), ("rate", 1.0)]
    assert weights(chosen, *events) == [OUT, OUT, OUT, 1, OUT]
    chosen = config(negative_event_types=["dislike"], event_types=[rule("buy")])
    assert weights(chosen, ("dislike", 1.0), ("view", 1.0), ("buy", 1.0)) == [OUT, OUT, 1]


def test_events_of_the_database_are_judged_by_the_same_rule():
    chosen = config(
        event_types=[rule("watch", event_value_threshold=0.5, weight=0.25), rule("view", weight=0)],
        negative_event_types=["dislike"],
    )
    events = [("watch", 0.5), ("watch", 0.4), ("view", None), ("dislike", 1.0), ("buy", None)]
    told = [Interaction("a", at, *event) for at, event in enumerate(events)]
    expected = [0.25, SEEN_ONLY, 0, SEEN_ONLY, SEEN_ONLY]
    assert weights_of_interactions(told, chosen).tolist() == expected
    assert weights_of_interactions(told, FeedbackConfig()).tolist() == [1] * 5
    assert weights_of_interactions([], chosen).tolist() == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"event_types": [rule("buy", weight=1.5)]}, "less than or equal to 1"),
        ({"event_types": [rule("buy", weight=-0.1)]}, "greater than or equal to 0"),
        ({"event_types": [rule(str(n)) for n in range(11)]}, "at most 10 items"),
        ({"event_types": [rule("buy"), rule("buy", weight=0.5)]}, "'buy' is named twice"),
        (
            {"event_types": [rule("buy")], "negative_event_types": ["buy"]},
            "'buy' is named twice",
        ),
        ({"feedback_threshold": float("nan")}, "finite number"),
        ({"event_types": [{"weight": 1}]}, "event_type"),
        ({"event_types": [{"event_type": "buy", "wait": 1}]}, "did you mean 'weight'"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(members, message):
    with pytest.raises(ConfigError, match=message):
        config(**members)


def test_ten_event_types_can_be_named():
    assert len(config(event_types=[rule(str(n)) for n in range(10)]).event_types) == 10


ROWS = [
    ("ann", "a", 1, "click", None),
    ("ann", "b", 2, "dislike", None),
    ("ann", "c", 3, "view", 0.1),
    ("ann", "d", 3, "buy", 5.0),
    ("bob", "a", 1, "view", None),
    ("cat", "d", 1, "buy", None),
]


def shard() -> pa.Table:
    users, items, times, types, values = zip(*ROWS, strict=True)
    columns = {
        "user_id": users,
        "item_id": items,
        "occurred_at": pa.array(times).cast(tables.TIMESTAMP),
        "event_type": types,
        "event_value": pa.array(values, pa.float64()),
    }
    return pa.table(columns)


def read(feedback: FeedbackConfig) -> Histories:
    return shard_histories(shard(), Vocabulary.from_ids([*"abcd"]), feedback)


def test_histories_hold_everything_in_the_order_of_the_log_and_say_what_counts():
    chosen = config(
        event_types=[rule("click"), rule("buy", weight=0.5)], negative_event_types=["dislike"]
    )
    histories = read(chosen)
    assert histories.user_ids.to_pylist() == ["ann", "bob", "cat"]
    assert histories.item_nums.tolist() == [1, 2, 3, 4, 1, 4]
    assert histories.offsets.tolist() == [0, 4, 5, 6]
    assert histories.weights is not None
    assert histories.weights.tolist() == [1, OUT, OUT, 0.5, OUT, 0.5]
    assert histories.inputs().lengths.tolist() == [2, 0, 1]  # of bob nothing counts


def test_what_does_not_count_is_seen_and_neither_read_nor_found():
    only_buys = read(config(event_types=[rule("buy")]))
    assert only_buys.inputs().item_nums.tolist() == [4, 4]
    assert only_buys.targets().item_nums.tolist() == [4, 4]
    seen = only_buys.newest_distinct(9)
    assert [seen.of(row)[0].tolist() for row in range(3)] == [[1, 2, 3, 4], [1], [4]]


def test_without_rules_there_are_no_weights():
    assert read(FeedbackConfig()).weights is None


def test_shards_in_which_every_weight_is_one_have_weights_where_others_may_not():
    # Or the histories of two shards could not be joined.
    chosen = config(event_types=[rule("other", weight=0.5)], negative_event_types=["dislike"])
    every_type = [rule(name) for name in ("click", "dislike", "view", "buy")]
    assert read(config(event_types=every_type)).weights.tolist() == [1] * 6
    assert read(chosen).weights is not None


def test_explicit_feedback_needs_a_value_and_keeps_it_as_the_label():
    chosen = config(kind="explicit", negative_event_types=["dislike"])
    histories = read(chosen)
    assert histories.inputs().item_nums.tolist() == [3, 4]  # the others have no value
    assert histories.weights.tolist() == [OUT, OUT, 1, 1, OUT, OUT]
    assert histories.inputs().labels.tolist() == [pytest.approx(0.1), 5.0]
    assert read(FeedbackConfig()).labels is None


def test_a_feedback_threshold_is_of_implicit_feedback():
    with pytest.raises(ConfigError, match="makes implicit feedback of values"):
        config(kind="explicit", feedback_threshold=3)
    assert config(kind="explicit", event_value_threshold=3).gives_labels


def test_a_model_of_what_comes_next_cannot_learn_explicit_feedback():
    given = {"feedback": {"kind": "explicit"}}
    with pytest.raises(ConfigError, match="which a gru model cannot"):
        parse_config(given, PipelineConfig, source="a test")
    two_tower = parse_config(
        {**given, "model": {"kind": "two_tower"}}, PipelineConfig, source="a test"
    )
    assert two_tower.feedback.gives_labels
