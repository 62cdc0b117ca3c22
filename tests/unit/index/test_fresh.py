"""A shard's pool of fresh items: who enters, who leaves, and what is drawn."""

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.config import IndexConfig
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DamagedReleaseError, ReleaseMismatchError
from raysys.hashing import stable_hash
from raysys.index.build import build_partitions
from raysys.index.cold_start import fit_cold_start
from raysys.index.fresh import DAY_US, FreshDraws, FreshPool, Home
from raysys.index.home import keys_of_new_items
from raysys.index.shard import open_shard
from raysys.policy.policies import SlotMixture
from raysys.release import CREATED_AT, ITEM_VOCABULARY, POPULARITY, Release, publishing
from raysys.state.items import Changes, ItemCount, Reception, StoredItem
from tests.unit.index.key_lists import Lists
from tests.unit.releases import published

DIM, NUM_ITEMS, NUM_PARTITIONS = 16, 40, 4
ITEM_IDS = [f"i{number:02}" for number in range(NUM_ITEMS)]
WATERMARK = datetime(2026, 1, 31, tzinfo=UTC)
WATERMARK_US = int(WATERMARK.timestamp()) * 1_000_000
NOW_US = WATERMARK_US + 365 * DAY_US
CUT_OFF_DAYS = 30


def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NUM_ITEMS, DIM)).astype(np.float32)


def genres() -> list[str]:
    return ["even" if number % 2 else "odd" for number in range(NUM_ITEMS)]


def publish(
    releases: Path, *, vocabulary: str | None = None, created_at_us: np.ndarray | None = None
) -> Release:
    """Publish items of which number n is n days old at the watermark."""
    items = Vocabulary.from_ids(ITEM_IDS)
    ages = np.arange(NUM_ITEMS + 1) * DAY_US
    table = pa.table({"item_id": ITEM_IDS, "genres": genres()})
    with publishing(releases) as draft:
        (draft.path / "vocabulary").mkdir()
        items.save(draft.path / ITEM_VOCABULARY)
        created = WATERMARK_US - ages if created_at_us is None else created_at_us
        np.save(draft.path / CREATED_AT, created)
        np.save(draft.path / POPULARITY, np.arange(NUM_ITEMS + 1) * 10)
        config = IndexConfig(num_partitions=NUM_PARTITIONS)
        hash_of = vocabulary or items.hash
        build_partitions(draft.path / "index", vectors(), ITEM_IDS, config, hash_of)
        fit_cold_start(vectors(), table, np.full(NUM_ITEMS, 9)).save(draft.path)
        return published(
            draft,
            embedding_dim=DIM,
            vocabulary=hash_of,
            num_items=NUM_ITEMS,
            num_partitions=NUM_PARTITIONS,
            watermark=WATERMARK,
        )


def pool_of(
    release: Release, shard: int = 0, num_shards: int = 1, age_cut_off_days: float = CUT_OFF_DAYS
) -> FreshPool:
    return FreshPool.of_release(
        release,
        open_shard(release, shard, num_shards),
        shard=shard,
        num_shards=num_shards,
        age_cut_off_days=age_cut_off_days,
    )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return publish(tmp_path_factory.mktemp("fresh"))


def put(*items: StoredItem, counts: Sequence[ItemCount] = (), version: int = 1) -> Changes:
    return Changes(version, list(items), list(counts))


def new(item_id: str, properties: str | None = None, age_days: float = 0) -> StoredItem:
    return StoredItem(item_id, properties, NOW_US - int(age_days * DAY_US))


def new_ids(pool: FreshPool) -> dict[int, str]:
    return pool.delta.put.ids_of(pool.items.keys)


def drawn(
    pool: FreshPool,
    *,
    now_us: int = NOW_US,
    banned: Sequence[int] = (),
    relevant: Sequence[int] = (),
    k: int = 100,
) -> FreshDraws:
    return pool.draw(
        np.zeros((1, DIM), np.float32),
        seeds=np.array([7]),
        counts=np.array([k]),
        now_us=now_us,
        banned=Lists.of([banned]),
        relevant=Lists.of([relevant]),
        policy=SlotMixture(temperature=1.0, evidence=2.0, bonus=3.0),
    )


def test_the_pools_of_all_shards_hold_each_young_item_of_the_release_once(release: Release) -> None:
    # Numbers 1 to 29: number 30 is exactly 30 days old at the watermark.
    pools = [pool_of(release, shard, 3) for shard in range(3)]
    keys = [key for pool in pools for key in pool.items.keys.tolist()]
    assert sorted(keys) == list(range(1, 30))
    for shard, pool in enumerate(pools):
        for key, vector in zip(pool.items.keys.tolist(), pool.items.vectors, strict=True):
            assert stable_hash(ITEM_IDS[key - 1]) % NUM_PARTITIONS % 3 == shard
            assert vector.tolist() == vectors()[key - 1].tolist()
        assert pool.items.interactions.tolist() == (pool.items.keys * 10).tolist()


@pytest.mark.parametrize(("days", "expected"), [(0.5, 0), (1.5, 1), (1e300, NUM_ITEMS)])
def test_the_cut_off_may_be_any_number_of_days(
    release: Release, days: float, expected: int
) -> None:
    assert len(pool_of(release, age_cut_off_days=days)) == expected


def test_items_of_the_release_do_not_age_with_the_clock(release: Release) -> None:
    pool = pool_of(release)
    much_later = NOW_US + 10_000 * DAY_US
    assert pool.num_eligible(much_later) == 29
    assert len(drawn(pool, now_us=much_later).candidates.keys) == 29


def test_a_new_item_enters_the_pool_of_one_shard_and_is_drawn_with_its_id(release: Release) -> None:
    pools = [pool_of(release, shard, 2).with_changes(put(new("fresh")), NOW_US) for shard in (0, 1)]
    home = stable_hash("fresh") % NUM_PARTITIONS % 2
    key = -1 - (stable_hash("fresh") >> 1)
    assert new_ids(pools[home]) == {key: "fresh"}
    assert new_ids(pools[1 - home]) == {}
    assert drawn(pools[home]).item_ids == {key: "fresh"}
    assert key in drawn(pools[home]).candidates.keys
    assert [pool.version for pool in pools] == [1, 1]


@given(st.floats(0, 100), st.floats(-50, 100))
def test_nothing_of_the_cut_off_age_or_older_is_explored(age: float, later: float) -> None:
    pool = empty_pool().with_changes(put(new("a", age_days=age)), NOW_US)
    now_us = NOW_US + int(later * DAY_US)
    is_young = now_us - (NOW_US - int(age * DAY_US)) < CUT_OFF_DAYS * DAY_US
    entered = int(age * DAY_US) < CUT_OFF_DAYS * DAY_US
    assert len(drawn(pool, now_us=now_us).candidates.keys) == (entered and is_young)
    assert pool.num_eligible(now_us) == (entered and is_young)


def test_an_item_is_too_old_at_the_very_microsecond() -> None:
    pool = empty_pool().with_changes(put(new("a")), NOW_US)
    end = NOW_US + CUT_OFF_DAYS * DAY_US
    assert pool.num_eligible(end - 1) == 1
    assert pool.num_eligible(end) == 0


def known_vectors(properties: Sequence[Mapping[str, Any]]) -> np.ndarray:
    found = np.zeros((len(properties), DIM), np.float32)
    found[:, 0] = [known.get("x", 0) for known in properties]
    return found


def empty_pool() -> FreshPool:
    home = Home(
        Vocabulary.from_ids(ITEM_IDS),
        known_vectors,
        num_partitions=NUM_PARTITIONS,
        shard=0,
        num_shards=1,
        age_cut_off_us=CUT_OFF_DAYS * DAY_US,
    )
    return FreshPool.of_items(
        home, np.zeros(0, np.int32), np.zeros((0, DIM), np.float32), np.zeros(0, np.int64)
    )


def columns(pool: FreshPool, values: np.ndarray) -> dict[str, Any]:
    rows = pool.items.columns_of(keys_of_new_items(new_ids(pool).values()))
    return dict(zip(new_ids(pool).values(), values[rows].tolist(), strict=True))


def test_an_item_that_is_put_again_changes_and_keeps_its_counts() -> None:
    first = put(new("a", '{"x": 1}'), new("b"), counts=[ItemCount("a", 4, 2)])
    before = empty_pool().with_changes(first, NOW_US)
    after = before.with_changes(put(new("a", '{"x": 5}', age_days=29.5), version=2), NOW_US)
    assert columns(after, after.items.vectors[:, 0]) == {"a": 5.0, "b": 0.0}
    assert columns(after, after.items.impressions) == {"a": 4, "b": 0}
    assert columns(after, after.items.clicks) == {"a": 2, "b": 0}
    assert after.num_eligible(NOW_US + DAY_US) == 1
    assert (before.version, after.version) == (1, 2)
    assert columns(before, before.items.vectors[:, 0]) == {"a": 1.0, "b": 0.0}  # as it was


def test_an_item_that_turns_out_to_be_old_leaves_and_so_does_one_that_has_grown_old() -> None:
    pool = empty_pool().with_changes(put(new("a"), new("b", age_days=20), new("c")), NOW_US)
    later = NOW_US + 12 * DAY_US
    pool = pool.with_changes(put(new("c", age_days=40), version=2), later)
    assert [*new_ids(pool).values()] == ["a"]
    assert len(pool) == 1


def test_an_item_of_the_release_that_is_put_again_stays_as_the_release_knows_it(
    release: Release,
) -> None:
    before = pool_of(release)
    young, old = ITEM_IDS[4], ITEM_IDS[34]
    counts = [ItemCount(young, 6, 1), ItemCount(old, 9, 9)]
    after = before.with_changes(put(new(young), new(old), counts=counts), NOW_US)
    assert after.items.keys.tolist() == before.items.keys.tolist()
    assert after.items.vectors.tolist() == before.items.vectors.tolist()
    assert after.items.impressions.tolist() == [0, 0, 0, 0, 6] + [0] * 24
    assert after.items.clicks.tolist() == [0, 0, 0, 0, 1] + [0] * 24
    assert before.items.impressions.tolist() == [0] * 29  # as it was


def test_changes_one_by_one_lead_where_all_of_them_at_once_lead(release: Release) -> None:
    steps = [
        put(new("a", '{"genres": "odd"}'), new("b"), version=1),
        put(counts=[ItemCount("a", 3, 1), ItemCount(ITEM_IDS[0], 2, 0)], version=2),
        put(new("b", '{"genres": "even"}'), new("c"), version=3),
        put(counts=[ItemCount("a", 5, 1), ItemCount("c", 1, 0)], version=4),
    ]
    followed = pool_of(release)
    for step in steps:
        followed = followed.with_changes(step, NOW_US)
    items = [steps[0].items[0], *steps[2].items]
    counts = [*steps[3].counts, ItemCount(ITEM_IDS[0], 2, 0)]
    restarted = pool_of(release).with_changes(put(*items, counts=counts, version=4), NOW_US)
    for name in ("keys", "hashes", "vectors", "interactions", "impressions", "clicks"):
        one, other = getattr(followed.items, name), getattr(restarted.items, name)
        assert one.tolist() == other.tolist()
    assert followed.expires_at_us.tolist() == restarted.expires_at_us.tolist()
    assert new_ids(followed) == new_ids(restarted)
    assert followed.version == restarted.version == 4


def test_a_new_items_vector_lies_among_those_of_its_kind(release: Release) -> None:
    changes = put(new("a", '{"genres": "odd"}'), new("b", '{"genres": "even"}'))
    pool = pool_of(release).with_changes(changes, NOW_US)
    found = pool.items.vectors[pool.items.columns_of(keys_of_new_items(["a", "b"]))]
    kinds = np.array(genres())
    centres = np.stack([vectors()[kinds == kind].mean(axis=0) for kind in ("odd", "even")])
    similar = found @ (centres[0] - centres[1])
    assert similar[0] > similar[1]


@pytest.mark.parametrize(
    "properties",
    ["[" * 30_000, "9" * 5_000, "[1]", "", None, r'{"genres": "\ud800"}', '{"size": NaN}'],
)
def test_properties_that_defeat_the_parser_are_taken_as_none(properties: str | None) -> None:
    pool = empty_pool().with_changes(put(new("a", properties)), NOW_US)
    assert pool.items.vectors.tolist() == [[0.0] * DIM]


def test_banned_items_are_never_drawn_and_relevant_ones_are_always_told(release: Release) -> None:
    pool = pool_of(release).with_changes(put(new("a"), new("b")), NOW_US)
    key_of_a, key_of_b = keys_of_new_items(["a", "b"]).tolist()
    found = drawn(pool, banned=[key_of_a, 3, 999], relevant=[key_of_b, 5, 35, 999], k=1)
    assert {key_of_b, 5} <= {*found.candidates.keys.tolist()}
    assert not {key_of_a, 3, 35, 999} & {*found.candidates.keys.tolist()}
    assert len(found.candidates.keys) <= 3
    assert found.item_ids == {key_of_b: "b"}
    everything = drawn(pool, banned=[key_of_a, 3])
    assert {*everything.candidates.keys.tolist()} == {*range(1, 30), key_of_b} - {3}


def test_an_item_that_is_shown_and_ignored_sinks_and_one_that_is_clicked_rises() -> None:
    counts = [ItemCount("ignored", 5, 0), ItemCount("clicked", 5, 4)]
    changes = put(new("ignored"), new("clicked"), new("unseen"), counts=counts)
    of_all = replace(changes, reception=Reception(60, 19))  # (1 + 19) / (20 + 60) = 1 / 4
    found = drawn(empty_pool().with_changes(of_all, NOW_US))
    logits = {
        found.item_ids[key]: logit
        for key, logit in zip(
            found.candidates.keys.tolist(), found.candidates.logits.tolist(), strict=True
        )
    }
    # Without a vector the score is 0. Of 5 impressions 5 / 4 clicks were to be expected.
    doubt = 3 * math.sqrt(2 / 3.25)
    assert logits == pytest.approx(
        {
            "ignored": 2 * math.log(2 / 3.25) + doubt,
            "clicked": 2 * math.log(6 / 3.25) + doubt,
            "unseen": 3.0,
        }
    )


def test_draws_travel_between_processes(release: Release) -> None:
    pool = pool_of(release).with_changes(put(new("a")), NOW_US)
    found = drawn(pool)
    arrived = pickle.loads(pickle.dumps(found))
    assert arrived.item_ids == found.item_ids
    assert arrived.candidates.perturbed.tolist() == found.candidates.perturbed.tolist()
    many = pickle.dumps(drawn(pool, k=5))
    assert len(many) < 2_000


def test_a_release_that_lost_what_the_pool_needs_is_refused(tmp_path: Path) -> None:
    short = publish(tmp_path / "short", created_at_us=np.zeros(3, np.int64))
    with pytest.raises(DamagedReleaseError, match="has 2 values in created_at.npy, but knows 40"):
        pool_of(short)
    other = publish(tmp_path / "other", vocabulary="another")
    with pytest.raises(ReleaseMismatchError, match="its item vocabulary was built for"):
        pool_of(other)
    altered = publish(tmp_path / "altered")
    (altered.path / CREATED_AT).write_bytes(b"x")
    with pytest.raises(DamagedReleaseError, match="created_at.npy"):
        pool_of(altered)
