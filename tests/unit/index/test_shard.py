"""Shards of an index, of exact and approximate kinds. Run: pytest tests/unit/index"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raysys.config import IndexConfig
from raysys.errors import ConfigError, DamagedReleaseError, ReleaseMismatchError, ServingError
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, exact_top_k, merge_top_k
from raysys.hashing import stable_hash
from raysys.index import kinds
from raysys.index.build import build_partitions
from raysys.index.files import IndexNote, nums_name, searchable_name
from raysys.index.shard import Shard, open_partitions, open_shard
from raysys.release import Release, publishing
from tests.unit.releases import published

NUM_ITEMS, DIM = 400, 16
ITEM_IDS = [f"item-{number}" for number in range(NUM_ITEMS)]
NUMS = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)
# Kinds that leave rows out by selectors, kinds that cannot, and kinds that compress.
APPROXIMATE = ["HNSW16", "IVF4,Flat", "SQ8", "PQ2x4", "PCA8,IVF4,SQ8"]


@pytest.fixture(scope="module", params=APPROXIMATE)
def approximate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """One shard of all partitions, of each approximate kind."""
    directory = tmp_path_factory.mktemp("index")
    with kinds.one_thread():
        note = build(directory, request.param)
    return opened(directory, note)


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


QUERIES = vectors(20, seed=10)


def build(directory: Path, factory: str = "Flat", num_partitions: int = 2) -> IndexNote:
    config = IndexConfig(factory=factory, num_partitions=num_partitions, min_recall=0)
    return build_partitions(
        directory, vectors(NUM_ITEMS), ITEM_IDS, config, "hash", queries=QUERIES
    )


def opened(directory: Path, note: IndexNote, shard: int = 0, num_shards: int = 1) -> Shard:
    return open_partitions(directory, range(shard, note.num_partitions, num_shards), note)


def exact(queries: NDArray[np.float32], k: int, excluded: Exclusions | None = None) -> TopK:
    return exact_top_k(queries, vectors(NUM_ITEMS), NUMS, k, excluded)


def assert_same(found: TopK, expected: TopK) -> None:
    assert found.item_nums.tolist() == expected.item_nums.tolist()
    assert found.scores.tolist() == expected.scores.tolist()


@pytest.mark.parametrize("num_shards", [1, 2, 3, 4])
def test_the_shards_of_a_flat_index_merge_to_the_exact_list_bit_for_bit(
    tmp_path: Path, num_shards: int
) -> None:
    note = build(tmp_path, num_partitions=4)
    queries = vectors(9, seed=1)
    seen = Exclusions.from_lists([range(1, 40 * row + 1) for row in range(9)])
    parts = [
        opened(tmp_path, note, shard, num_shards).search(queries, 12, seen)
        for shard in range(num_shards)
    ]
    assert_same(merge_top_k(parts, 12), exact(queries, 12, seen))


def test_items_of_equal_vectors_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    same = np.ones((NUM_ITEMS, DIM), np.float32)
    config = IndexConfig(num_partitions=3)
    note = build_partitions(tmp_path, same, ITEM_IDS, config, "hash")
    top = opened(tmp_path, note).search(np.ones((1, DIM), np.float32), 5)
    assert top.item_nums.tolist() == [[1, 2, 3, 4, 5]]


def test_an_items_partition_depends_on_its_id_alone(tmp_path: Path) -> None:
    build(tmp_path, num_partitions=3)
    for partition in range(3):
        nums = np.load(tmp_path / nums_name(partition))
        assert nums.tolist() == [
            number for number in NUMS if stable_hash(ITEM_IDS[number - 1]) % 3 == partition
        ]


def test_an_excluded_item_never_comes_back_even_when_nearly_all_are_excluded(
    approximate: Shard,
) -> None:
    queries = vectors(4, seed=2)
    # Of 400 items these leave 400, 300, 60 and 3, which is less than is asked for.
    banned = [[], range(1, 101), range(1, 341), range(1, 398)]
    top = approximate.search(queries, 10, Exclusions.from_lists(banned))
    for row, nums in enumerate(banned):
        found = top.item_nums[row][top.item_nums[row] > 0]
        assert not set(found.tolist()) & set(nums)
        assert len(set(found.tolist())) == min(10, NUM_ITEMS - len(nums))


def test_what_an_approximate_index_finds_has_the_true_scores_in_the_true_order(
    approximate: Shard,
) -> None:
    queries = vectors(5, seed=3)
    top = approximate.search(queries, 10)
    everything = exact(queries, NUM_ITEMS)
    for nums, scores, all_nums, all_scores in zip(
        top.item_nums, top.scores, everything.item_nums, everything.scores, strict=True
    ):
        places = [all_nums.tolist().index(num) for num in nums]
        assert places == sorted(places)
        assert scores.tolist() == all_scores[places].tolist()


def test_queries_with_few_items_left_are_answered_exactly(approximate: Shard) -> None:
    queries = vectors(8, seed=4)
    seen = Exclusions.from_lists([range(1, 371)] * 8)  # 30 of 400 are left
    assert_same(approximate.search(queries, 2, seen), exact(queries, 2, seen))


def test_index_recall_is_one_when_the_index_is_exact(tmp_path: Path) -> None:
    note = build(tmp_path)
    assert note.is_exact
    assert (note.index_recall_at_10, note.index_recall_at_100) == (1.0, 1.0)


def test_index_recall_of_a_coarse_kind_is_measured_against_exact_search(tmp_path: Path) -> None:
    note = build(tmp_path, "IVF32,Flat", num_partitions=1)  # no effort is too small
    assert not note.is_exact
    shard = opened(tmp_path, note)
    queries = QUERIES[1::2]  # what the build measures with; the others chose the effort
    found, true = shard.search(queries, 10).item_nums, exact(queries, 10).item_nums
    shares = [len({*a} & {*b}) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    assert 0.2 < note.index_recall_at_10 < 1
    assert note.index_recall_at_10 == pytest.approx(float(np.mean(shares)))


@pytest.mark.parametrize(("factory", "expected"), [("HNSW16", True), ("PQ2x4", False)])
def test_whether_a_kind_obeys_selectors_is_found_out_at_build(
    tmp_path: Path, factory: str, expected: bool
) -> None:
    assert build(tmp_path, factory).supports_selectors is expected


def test_a_kind_that_ignores_selectors_does_not_pass_as_obedient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = kinds.make_index("Flat", vectors(50))
    assert kinds.obeys_selectors(index, vectors(1)[0])
    monkeypatch.setattr(
        kinds, "search", lambda index, queries, k, among=None: index.search(queries, k)[1]
    )
    assert not kinds.obeys_selectors(index, vectors(1)[0])


def test_log_sum_exp_covers_the_seen_items_too(tmp_path: Path) -> None:
    note = build(tmp_path)
    queries = vectors(3, seed=5)
    scores = queries.astype(float) @ vectors(NUM_ITEMS).T.astype(float)
    parts = [opened(tmp_path, note, shard, 2).log_sum_exp(queries) for shard in range(2)]
    assert parts[0] is not None
    assert parts[1] is not None
    assert np.logaddexp(*parts) == pytest.approx(np.log(np.exp(scores).sum(axis=1)), rel=1e-6)


def test_an_approximate_shard_knows_no_log_sum_exp(tmp_path: Path) -> None:
    assert opened(tmp_path, build(tmp_path, "HNSW16")).log_sum_exp(vectors(1)) is None


@pytest.mark.parametrize("factory", ["Flat", "HNSW16"])
def test_cosine_looks_at_the_direction_and_not_at_the_length(tmp_path: Path, factory: str) -> None:
    embeddings = vectors(NUM_ITEMS)
    embeddings[6] = 50 * embeddings[6]
    embeddings[7] = -embeddings[6]
    embeddings[8] = 0.01 * embeddings[6]
    embeddings[9] = 0
    config = IndexConfig(factory=factory, num_partitions=2, min_recall=0)
    note = build_partitions(tmp_path, embeddings, ITEM_IDS, config, "hash", queries=QUERIES)
    top = opened(tmp_path, note).search(
        embeddings[[6]], NUM_ITEMS, Exclusions.from_lists([[7]]), by_cosine=True
    )
    assert top.item_nums[0, 0] == 9  # item number 9 is row 8
    assert top.scores[0, 0] == pytest.approx(1)
    assert top.item_nums[0, -2] == 8  # the last but for the padding of the excluded item
    assert top.scores[0, -2] == pytest.approx(-1)
    assert top.scores[0][top.item_nums[0] == 10].tolist() == [0.0]


def test_vectors_are_given_for_the_items_that_the_shard_holds(tmp_path: Path) -> None:
    note = build(tmp_path)
    here = np.load(tmp_path / nums_name(1))
    elsewhere = np.load(tmp_path / nums_name(0))
    nums, found = opened(tmp_path, note, 1, 2).vectors_of([here[5], elsewhere[0], here[2], 9_999])
    assert sorted(nums.tolist()) == sorted([here[5], here[2]])
    assert np.array_equal(found, vectors(NUM_ITEMS)[nums - 1])


def test_a_partition_without_items_is_searched_like_any_other(tmp_path: Path) -> None:
    config = IndexConfig(num_partitions=8)
    note = build_partitions(tmp_path, vectors(2), ["a", "b"], config, "hash")
    queries = vectors(2, seed=6)
    for shard in range(4):
        assert opened(tmp_path, note, shard, 4).search(queries, 3).item_nums.shape == (2, 3)
    top = opened(tmp_path, note).search(queries, 3)
    assert [set(row) for row in top.item_nums.tolist()] == [{1, 2, 0}, {1, 2, 0}]


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("Flatt", "cannot build index.factory 'Flatt'"),
        ("IVF4096,Flat", "from 164 vectors of width 16"),
        ("IDMap,Flat", "Leave IDMap out"),
    ],
)
def test_a_kind_that_cannot_be_built_is_refused_with_what_to_do(
    tmp_path: Path, factory: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(tmp_path, factory)


def publish(releases: Path, *, vocabulary: str = "hash") -> Release:
    with publishing(releases) as draft:
        build(draft.path / "index")
        return published(
            draft, embedding_dim=DIM, vocabulary=vocabulary, num_items=NUM_ITEMS, num_partitions=2
        )


def test_a_shard_of_a_published_release_opens_and_searches(tmp_path: Path) -> None:
    release = publish(tmp_path)
    queries = vectors(2, seed=7)
    parts = [open_shard(release, shard, 2).search(queries, 6) for shard in range(2)]
    assert_same(merge_top_k(parts, 6), exact(queries, 6))


def test_an_altered_partition_is_refused_by_name(tmp_path: Path) -> None:
    release = publish(tmp_path)
    path = release.path / "index" / searchable_name(1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    open_shard(release, 0, 2)  # does not hold the altered partition
    with pytest.raises(DamagedReleaseError, match="partition-00001.faiss"):
        open_shard(release, 1, 2)


def test_partitions_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    release = publish(tmp_path, vocabulary="another")
    with pytest.raises(ReleaseMismatchError, match="its index was built for item vocabulary hash"):
        open_shard(release, 0, 1)


def test_files_of_different_partitions_do_not_pass_as_one(tmp_path: Path) -> None:
    note = build(tmp_path)
    np.save(tmp_path / nums_name(0), np.arange(3, dtype=np.int32))
    with pytest.raises(DamagedReleaseError, match="does not fit together: 3 item numbers"):
        opened(tmp_path, note)


def test_more_shards_than_partitions_are_refused(tmp_path: Path) -> None:
    release = publish(tmp_path)
    with pytest.raises(ServingError, match="shard 2 of 3 would hold nothing"):
        open_shard(release, 2, 3)
