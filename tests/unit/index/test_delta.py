"""What was put since the release: found as if it had been in the index, by what is known of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import catalogue_log_sum_exp
from raysys.filters.binding import bind
from raysys.filters.grammar import parse_expression
from raysys.filters.masks import EVERYTHING, Rule
from raysys.hashing import stable_hash
from raysys.index.delta import Delta
from raysys.index.filtered import ShardFilters
from raysys.index.fresh import DAY_US, FreshPool
from raysys.index.home import Home, keys_of_new_items
from raysys.state.items import Changes, ItemHiding, StoredItem

DIM = 6
RELEASED = ["a", "b", "c"]
TABLE = pa.table(
    {
        "item_id": RELEASED,
        "kind": ["x", "y", None],
        "price": pa.array([1, 2, None], pa.int32()),
        "creation_timestamp": pa.array([10, 20, 30], pa.int64()),
    }
)


def vectors_of(known: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    rows = [np.random.default_rng(each["seed"]).standard_normal(DIM) for each in known]
    return np.array(rows, np.float32).reshape(len(known), DIM)


def home(shard: int = 0, num_shards: int = 1) -> Home:
    return Home(Vocabulary.from_ids(RELEASED), vectors_of, 4, shard, num_shards, 30 * DAY_US)


def new(item_id: str, seed: int = 0, created_at_us: int = 5_000_000, **more: Any) -> StoredItem:
    return StoredItem(item_id, json.dumps({"seed": seed, **more}), created_at_us)


def followed(*stored: StoredItem, hidden: Sequence[str] = ()) -> Delta:
    hidings = [ItemHiding(item_id, True) for item_id in hidden]
    return Delta.empty(DIM).with_changes(Changes(1, [*stored], [], hidings), home())


def key_of(item_id: str) -> int:
    return int(keys_of_new_items([item_id])[0])


def rule_of(expression: str) -> Rule:
    return bind(parse_expression(expression), {}, lambda _: False, lambda _: ()).rule


def ids_at(delta: Delta, places: NDArray[np.integer]) -> list[str]:
    keys = delta.keys_at(places).tolist()
    return [delta.put.new[key].item_id for key in keys if key]


@pytest.mark.parametrize("by_cosine", [False, True])
def test_the_best_of_what_was_put_are_found_without_those_excluded(by_cosine: bool) -> None:
    delta = followed(*(new(f"n{number}", number) for number in range(20)))
    queries = vectors_of([{"seed": 99}, {"seed": 98}])
    banned = delta.places_of(np.array([key_of("n3"), key_of("n7"), 2, key_of("who")]))
    assert banned[2:].tolist() == [0, 0]
    excluded = Exclusions.from_lists([banned, []])
    top = delta.search(queries, 5, excluded, by_cosine=by_cosine)
    for row, hidden in enumerate(({"n3", "n7"}, set[str]())):
        scores = {}
        for number in range(20):
            vector = vectors_of([{"seed": number}])[0].astype(float)
            length = np.linalg.norm(vector) if by_cosine else 1.0
            scores[f"n{number}"] = float(queries[row].astype(float) @ vector / length)
        best = sorted(scores.keys() - hidden, key=lambda name: -scores[name])[:5]
        assert ids_at(delta, top.item_nums[row]) == best
    if not by_cosine:
        everything = vectors_of([{"seed": number} for number in range(20)])
        expected = catalogue_log_sum_exp(queries, everything)
        assert delta.log_sum_exp(queries) == pytest.approx(expected)


def test_keys_places_and_vectors_belong_together_however_they_came() -> None:
    one_by_one = Delta.empty(DIM)
    for number in (4, 2, 9, 2):
        one_by_one = one_by_one.with_changes(
            Changes(1, [new(f"n{number}", number), new("a", 5)], []), home()
        )
    at_once = followed(*(new(f"n{number}", number) for number in (2, 4, 9)))
    for delta in (one_by_one, at_once):
        assert len(delta) == 3
        assert (np.diff(delta.keys) > 0).all()
        keys, vectors = delta.vectors_of(np.array([key_of("n9"), 1, key_of("n2"), key_of("no")]))
        assert keys.tolist() == [key_of("n9"), key_of("n2")]
        assert vectors.tolist() == vectors_of([{"seed": 9}, {"seed": 2}]).tolist()


def test_an_item_that_is_put_again_has_the_newest_vector() -> None:
    delta = followed(new("n", 1))
    again = delta.with_changes(Changes(2, [new("n", 2)], []), home())
    assert again.partition.vectors.tolist() == vectors_of([{"seed": 2}]).tolist()
    assert delta.partition.vectors.tolist() == vectors_of([{"seed": 1}]).tolist()


def test_what_the_release_knows_is_never_put_beside_it() -> None:
    delta = followed(new("a", 1), new("b", 2))
    assert len(delta) == 0
    assert sorted(delta.put.known) == [1, 2]


def test_an_item_lies_in_one_shard_and_without_changes_nothing_is_made_anew() -> None:
    homes = [home(shard, 3) for shard in range(3)]
    pools = [
        FreshPool.of_items(each, np.zeros(0, np.int64), np.zeros((0, DIM), np.float32), np.zeros(0))
        for each in homes
    ]
    changes = Changes(1, [new(f"n{n}", n) for n in range(9)], [], [ItemHiding("n1", True)])
    after = [pool.with_changes(changes, 0) for pool in pools]
    for shard, pool in enumerate(after):
        here = {f"n{n}" for n in range(9) if stable_hash(f"n{n}") % 4 % 3 == shard}
        assert {item.item_id for item in pool.delta.put.new.values()} == here
        hidden = {key_of("n1")} if "n1" in here else set()
        assert pool.delta.put.hidden == hidden
        assert pool.with_changes(Changes(2, [], []), 0).delta is pool.delta


def test_old_items_are_found_though_they_are_not_explored() -> None:
    none = np.zeros(0, np.int64)
    pool = FreshPool.of_items(home(), none, np.zeros((0, DIM), np.float32), none)
    pool = pool.with_changes(
        Changes(1, [new("old", 1), new("young", 2, 50 * DAY_US)], []), 60 * DAY_US
    )
    assert pool.items.keys.tolist() == [key_of("young")]
    assert len(pool.delta) == 2


def test_rules_judge_by_what_was_put_last_and_hidden_items_pass_none() -> None:
    delta = followed(
        new("a", 1, kind="y", PRICE="7"),
        new("n1", 1, kind="x", price=3, creationTimestamp=4),
        new("n2", 2, 40_000_000),
        new("n3", 3, kind="x"),
        hidden=["b", "n3"],
    )
    filters = ShardFilters(TABLE, np.array([3, 1, 2], np.int32)).at(delta)
    names = delta.put.ids_of(delta.keys)

    def let(expression: str | None) -> set[str]:
        rule = EVERYTHING if expression is None else rule_of(f"INCLUDE ItemID WHERE {expression}")
        rows, put = filters.released.rows(rule), filters.put.rows(rule)
        released = {name for name, is_let in zip("cab", rows, strict=True) if is_let}
        return released | {names[key] for key in delta.keys[put].tolist()}

    assert let(None) == {"a", "c", "n1", "n2"}
    assert let('Items.KIND IN ("y")') == {"a"}
    assert let('Items.KIND IN ("x")') == {"n1"}
    assert let("Items.PRICE >= 3") == {"a", "n1"}
    assert let('Items.ITEM_ID IN ("n2", "c", "b")') == {"n2", "c"}
    # What nobody named: of a known item what the release says, of a new one its first put.
    assert let("Items.CREATION_TIMESTAMP < 15") == {"a", "n1"}
    assert let("Items.CREATION_TIMESTAMP > 35") == {"n2"}


def test_who_is_shown_again_passes_again_with_the_same_vector() -> None:
    delta = followed(new("n", 1), hidden=["n", "a"])
    shown = delta.with_changes(Changes(2, [], [], [ItemHiding("n", False)]), home())
    assert shown.put.hidden == {1}
    filters = ShardFilters(TABLE, np.array([1, 2, 3], np.int32))
    assert filters.at(delta).put.rows(EVERYTHING).tolist() == [False]
    assert filters.at(shown).put.rows(EVERYTHING).tolist() == [True]
    assert filters.at(shown).released.rows(EVERYTHING).tolist() == [False, True, True]


def test_without_anything_put_the_masks_are_those_of_the_release() -> None:
    filters = ShardFilters(TABLE, np.array([1, 2, 3], np.int32))
    rule = rule_of('INCLUDE ItemID WHERE Items.KIND IN ("x")')
    now = filters.at(Delta.empty(DIM))
    assert not now.released.hides
    assert now.released.rows(rule) is filters.at(Delta.empty(DIM)).released.rows(rule)
