"""Search on a device gives the lists of the CPU, bit by bit. Run: pytest tests/unit/index"""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raysys.config import IndexConfig
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, catalogue_log_sum_exp, exact_top_k
from raysys.index import device, shard
from raysys.index.build import build_partitions
from raysys.index.device import DeviceVectors
from raysys.index.shard import Shard, open_partitions

CPU = torch.device("cpu")


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)


def assert_same(found: TopK, expected: TopK) -> None:
    assert found.item_nums.tolist() == expected.item_nums.tolist()
    assert found.scores.tolist() == expected.scores.tolist()


@given(
    st.integers(0, 2**32), st.integers(1, 70), st.integers(0, 60), st.integers(1, 40), st.booleans()
)
def test_lists_are_those_of_the_cpu_whatever_is_excluded(
    seed: int, num_queries: int, num_items: int, k: int, coarse: bool
) -> None:
    random = np.random.default_rng(seed)
    queries, candidates = vectors(num_queries, seed), vectors(num_items, seed + 1)
    if coarse:  # many equal scores, so that the tie rule decides
        queries, candidates = queries.round(), candidates.round()
    nums = np.sort(random.choice(200, num_items, replace=False)).astype(np.int32) + 1
    seen = [random.choice(200, random.integers(0, 60)) + 1 for _ in range(num_queries)]
    excluded = Exclusions.from_lists(seen)
    found = DeviceVectors(candidates, nums, CPU).top_k(queries, k, excluded)
    assert_same(found, exact_top_k(queries, candidates, nums, k, excluded))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_mask_hides_what_it_does_not_mark(share: float) -> None:
    rng = np.random.default_rng(3)
    queries, candidates = (
        rng.standard_normal((count, 16)).astype(np.float32) for count in (3, 200)
    )
    nums = np.arange(1, 201, dtype=np.int32)
    excluded = Exclusions.from_lists([[1, 2], [], [200]])
    allowed = rng.random(200) < share
    found = DeviceVectors(candidates, nums, CPU).top_k(queries, 10, excluded, allowed)
    assert_same(found, exact_top_k(queries, candidates[allowed], nums[allowed], 10, excluded))


def test_candidates_are_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_CANDIDATE_BLOCK", 7)
    queries, candidates = vectors(5, seed=3), vectors(40)
    nums = np.arange(1, 41, dtype=np.int32)
    on_device = DeviceVectors(candidates, nums, CPU)
    assert_same(on_device.top_k(queries, 6), exact_top_k(queries, candidates, nums, 6))
    expected = catalogue_log_sum_exp(queries, candidates)
    np.testing.assert_allclose(on_device.log_sum_exp(queries), expected, rtol=1e-6)


def test_a_shard_with_a_gpu_searches_an_approximate_kind_exactly(tmp_path: Path) -> None:
    ids = [f"item-{number}" for number in range(300)]
    config = IndexConfig(factory="PQ2x4", num_partitions=2, min_recall=0)
    note = build_partitions(tmp_path, vectors(300), ids, config, "hash")
    opened = open_partitions(tmp_path, [0, 1], note)
    assert opened.log_sum_exp(vectors(3)) is None
    copies = [DeviceVectors(part.vectors, part.nums, CPU) for part in opened.partitions]
    on_gpu = Shard(opened.note, opened.partitions, copies)
    queries, nums = vectors(3, seed=5), np.arange(1, 301, dtype=np.int32)
    assert_same(on_gpu.search(queries, 10), exact_top_k(queries, vectors(300), nums, 10))
    total = on_gpu.log_sum_exp(queries)
    assert total is not None
    np.testing.assert_allclose(total, catalogue_log_sum_exp(queries, vectors(300)), rtol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_torch_cannot_use_leaves_the_search_to_the_cpu_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note = build_partitions(tmp_path, vectors(9), list("abcdefghi"), IndexConfig(), "hash")
    opened = open_partitions(tmp_path, [0, 1, 2, 3], note)
    with caplog.at_level(logging.WARNING, logger="raysys.serving"):
        assert shard._with_gpu(opened) is opened
    assert "nvidia-smi" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_lists_of_the_cpu() -> None:
    queries, candidates = vectors(100, seed=1), vectors(50_000)
    nums = np.arange(1, 50_001, dtype=np.int32)
    excluded = Exclusions.from_lists([range(1, 300 * row + 1) for row in range(100)])
    found = DeviceVectors(candidates, nums, torch.device("cuda")).top_k(queries, 25, excluded)
    assert_same(found, exact_top_k(queries, candidates, nums, 25, excluded))
