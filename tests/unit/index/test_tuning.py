"""An index is searched as cheaply as its recall allows, or not published.

Run: pytest tests/unit/index
"""

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from raysys.config import IndexConfig
from raysys.errors import ConfigError
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import exact_top_k
from raysys.index import build as build_module
from raysys.index import choice, kinds
from raysys.index.build import build_partitions
from raysys.index.effort import Effort, Knobs, cheapest
from raysys.index.files import NOTE_NAME, IndexNote, vectors_name
from raysys.index.shard import open_partitions, share_of_partition
from raysys.index.tuning import Truth, with_effort

NUM_ITEMS, DIM = 1_000, 16
ITEM_IDS = [f"item-{number}" for number in range(NUM_ITEMS)]
NUMS = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


ITEMS, QUERIES = vectors(NUM_ITEMS), vectors(20, seed=1)


def build(directory: Path, factory: str, min_recall: float, num_partitions: int = 2) -> IndexNote:
    config = IndexConfig(factory=factory, min_recall=min_recall, num_partitions=num_partitions)
    return build_partitions(directory, ITEMS, ITEM_IDS, config, "hash", queries=QUERIES)


def recall_at(k: int, directory: Path, note: IndexNote, queries: NDArray[np.float32]) -> float:
    found = open_partitions(directory, range(note.num_partitions), note).search(queries, k)
    true = exact_top_k(queries, ITEMS, NUMS, k).item_nums
    pairs = zip(found.item_nums.tolist(), true.tolist(), strict=True)
    return float(np.mean([len({*a} & {*b}) / k for a, b in pairs]))


def test_the_first_effort_that_is_enough_is_found_and_all_above_it_follow() -> None:
    knobs = Knobs(num_lists=16, scores_exactly=True)
    tail = cheapest(knobs, lambda effort: (effort.nprobe or 0) >= 5, num_rows=1_000, k=100)
    assert [effort.nprobe for effort in tail] == [6, 8, 12, 16]


def test_more_lists_or_more_fetched_whichever_compares_fewer_codes() -> None:
    knobs = Knobs(num_lists=64)

    def is_enough(effort: Effort) -> bool:
        return (effort.nprobe or 0) * effort.k_factor >= 16

    # nprobe 16, k_factor 1: n / 4 + 3,000; 8 and 2: n / 8 + 6,000; 4 and 4: n / 16 + 12,000.
    # They cross at n = 24,000 and 96,000.
    for num_rows, expected in [(23_000, (16, 1)), (25_000, (8, 2)), (97_000, (4, 4))]:
        best = cheapest(knobs, is_enough, num_rows=num_rows, k=100)[0]
        assert (best.nprobe, best.k_factor) == expected


def test_few_efforts_are_tried() -> None:
    tried: list[Effort] = []

    def is_enough(effort: Effort) -> bool:
        tried.append(effort)
        return (effort.nprobe or 0) * effort.k_factor >= 64

    efforts = cheapest(Knobs(num_lists=1_024), is_enough, num_rows=1_000_000, k=100)
    assert all((each.nprobe or 0) * each.k_factor >= 64 for each in efforts)
    assert {each.k_factor for each in efforts} == {1, 2, 4, 8, 16}
    assert len(tried) == len({(each.nprobe, each.k_factor) for each in tried}) < 25  # of 105


def test_nothing_is_chosen_where_no_effort_is_enough() -> None:
    assert cheapest(Knobs(is_graph=True), lambda effort: False, num_rows=10, k=100) == []


def test_a_kind_without_settings_can_still_fetch_more() -> None:
    tail = cheapest(Knobs(), lambda effort: effort.k_factor > 2, num_rows=10, k=100)
    assert tail[0] == Effort(k_factor=4)


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW8", "IVF16,PQ16x4fs", "PCA12,IVF16,SQ8"])
def test_the_effort_is_the_least_that_reaches_the_recall_on_the_queries(
    tmp_path: Path, factory: str
) -> None:
    note = build(tmp_path, factory, min_recall=0.9)
    assert min(note.index_recall_at_10, note.index_recall_at_100) >= 0.9
    # What the note says is what a shard reaches, on the half that did not choose the effort.
    judged = QUERIES[1::2]
    assert note.num_measured_queries == len(judged)
    assert recall_at(10, tmp_path, note, judged) == pytest.approx(note.index_recall_at_10)
    assert recall_at(100, tmp_path, note, judged) == pytest.approx(note.index_recall_at_100)
    effort = note.effort
    if effort.nprobe is not None and effort.nprobe > 1:  # half as many lists do not reach it
        less = note.model_copy(
            update={"effort": effort.model_copy(update={"nprobe": effort.nprobe // 2})}
        )
        halves = [
            min(recall_at(k, tmp_path, less, QUERIES[half::2]) for k in (10, 100))
            for half in (0, 1)
        ]
        assert min(halves) < 0.9
    assert note.queries_per_s > 0
    assert note.bytes_per_item > 4 * DIM


def test_an_index_that_finds_too_little_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"PQ1x2 reaches recall@10 0\.\d+ and recall@100"
    ) as error:
        build(tmp_path, "PQ1x2", min_recall=0.99)
    assert "index.min_recall is 0.99. Nothing was published. Use index.factory auto or" in str(
        error.value
    )
    assert not (tmp_path / NOTE_NAME).exists()


def test_auto_falls_back_to_what_is_good_enough_and_says_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = [choice.Choice(name, "a test") for name in ("PQ1x2", "HNSW8", "Flat")]
    monkeypatch.setattr(build_module, "choices", lambda *_: tries)
    note = build(tmp_path, "auto", min_recall=0.97)
    assert note.factory == "HNSW8"
    assert note.why.startswith("PQ1x2 reaches recall@10 0.")
    assert note.why.endswith("HNSW8: a test.")
    monkeypatch.setattr(build_module, "choices", lambda *_: [tries[0], tries[2]])
    note = build(tmp_path, "auto", min_recall=0.97)
    assert (note.factory, note.is_exact) == ("Flat", True)
    assert not (tmp_path / vectors_name(0)).exists()
    assert recall_at(10, tmp_path, note, QUERIES) == 1


def test_auto_of_a_small_catalogue_is_flat(tmp_path: Path) -> None:
    note = build(tmp_path, "auto", min_recall=0.95)
    assert (note.factory, note.is_exact, note.index_recall_at_100) == ("Flat", True, 1.0)


def test_a_graph_keeps_the_vectors_that_lists_are_ranked_by(tmp_path: Path) -> None:
    note = build(tmp_path, "HNSW8", min_recall=0.5)
    assert note.keeps_vectors
    assert not (tmp_path / vectors_name(0)).exists()
    part = open_partitions(tmp_path, [0], note).partitions[0]
    assert np.array_equal(part.vectors, ITEMS[part.nums - 1])


def test_items_of_equal_score_are_as_good_as_each_other() -> None:
    same = np.ones((300, DIM), np.float32)
    truth = Truth.of(same[:2], same)
    other = exact_top_k(same[:2], same[200:], np.arange(201, 301, dtype=np.int32), 100)
    assert truth._shares(other, 100).tolist() == [1, 1]
    other.scores[0, 50:] -= 1
    other.item_nums[1, 90:] = 0
    assert truth._shares(other, 100).tolist() == [0.5, 0.9]


def test_a_partition_is_asked_for_its_share_of_a_list_and_four_deviations() -> None:
    assert share_of_partition(100, 1) == 100
    assert share_of_partition(100, 4) == 43  # 25 + 4 x 4.33 = 42.3
    assert share_of_partition(3, 4) == 3


def test_a_list_is_full_where_one_partition_has_most_of_what_is_left(tmp_path: Path) -> None:
    note = build(tmp_path, "IVF16,Flat", min_recall=0.9, num_partitions=4)
    whole = open_partitions(tmp_path, range(4), note)
    kept = whole.partitions[2].nums
    banned = np.setdiff1d(NUMS, kept)
    lists = Exclusions.from_lists([banned, banned[:5], []])
    top = whole.search(QUERIES[:3], 100, lists)
    assert (top.item_nums > 0).all()
    assert np.isin(top.item_nums[0], kept).all()
    assert not np.isin(top.item_nums[1], banned[:5]).any()


@pytest.mark.parametrize("obeys_selectors", [True, False])
def test_who_has_seen_the_best_items_gets_the_next_best(
    tmp_path: Path, obeys_selectors: bool
) -> None:
    note = build(tmp_path, "IVF16,Flat", min_recall=0.9)
    thorough = with_effort(open_partitions(tmp_path, [0, 1], note), Effort(nprobe=16))
    parts = [replace(part, obeys_selectors=obeys_selectors) for part in thorough.partitions]
    searched = replace(thorough, partitions=parts)
    best = exact_top_k(QUERIES, ITEMS, NUMS, 400).item_nums
    # From none to the 390 best, within one batch.
    seen = Exclusions.from_lists([best[row, : 20 * row] for row in range(len(QUERIES))])
    top, expected = searched.search(QUERIES, 20, seen), exact_top_k(QUERIES, ITEMS, NUMS, 20, seen)
    assert top.item_nums.tolist() == expected.item_nums.tolist()
    assert top.scores.tolist() == expected.scores.tolist()


def test_the_same_vectors_give_the_same_files(tmp_path: Path) -> None:
    notes = [build(tmp_path / str(copy), "IVF16,PQ16x4fs", 0.9) for copy in range(2)]
    assert notes[0].effort == notes[1].effort
    for name in ("partition-00000.faiss", "partition-00001.faiss"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_an_effort_reaches_the_index_below_what_wraps_it() -> None:
    index = kinds.make_index("PCA8,IVF16,SQ8,RFlat", ITEMS)
    assert kinds.knobs(index) == Knobs(num_lists=16)
    kinds.set_effort(index, Effort(nprobe=7))
    assert faiss.extract_index_ivf(index).nprobe == 7
