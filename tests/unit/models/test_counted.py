"""A counted model stands behind the same doors as those that are learnt."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raysys.config import PopularityConfig, TrendingConfig
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.retriever import EmbeddingRetriever
from raysys.models.base import QueryBatch
from raysys.models.build import build_model
from raysys.models.counted import Counted
from raysys.models.encode import HistoryEncoder, encode_catalogue, encode_histories
from raysys.models.extension import extended
from raysys.models.weights import load_model, save_model
from tests.unit.histories import histories_of


def counted(*scores: float) -> Counted:
    model = build_model(PopularityConfig(), num_items=len(scores), num_users=3)
    assert isinstance(model, Counted)
    model.set_scores(np.array([99.0, *scores]))
    return model


def test_an_items_vector_is_its_score_and_no_item_has_none() -> None:
    model = counted(3.0, 1.0, 2.0)
    assert model.encode_candidates(torch.arange(4))[:, 0].tolist() == [0, 3, 1, 2]
    catalogue = encode_catalogue(model)
    assert catalogue.shape == (3, 16)
    assert catalogue[:, 0].tolist() == [3, 1, 2]
    assert not catalogue[:, 1:].any()


def test_everybody_asks_alike_strangers_too() -> None:
    model = counted(3.0, 1.0, 2.0)
    histories = histories_of([[], [0], [1, 2], [3]])
    found = HistoryEncoder(model).encode(histories, user_nums=np.array([0, 1, 2, 3]))
    assert found.tolist() == [[1.0] + [0.0] * 15] * 4
    assert encode_histories(model, histories_of([])).shape == (0, 16)
    nobody = torch.zeros(2, 0, dtype=torch.int64)
    batch = QueryBatch(torch.zeros(2, dtype=torch.int64), nobody, torch.zeros(2))
    assert model.encode_queries(batch).tolist() == [[1.0], [1.0]]


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=40))
def test_logs_of_counts_rank_as_the_counts_do(counts: list[int]) -> None:
    model = counted(*np.log1p(counts))
    nums = np.arange(1, len(counts) + 1, dtype=np.int32)
    retriever = EmbeddingRetriever(
        lambda histories: encode_histories(model, histories), encode_catalogue(model), nums
    )
    asked = histories_of([[1], []])
    found = retriever.top_k(asked, len(counts), excluded=asked)
    expected = FixedRanking(np.array([0, *counts])).top_k(asked, len(counts), excluded=asked)
    assert np.array_equal(found.item_nums, expected.item_nums)


def test_a_release_keeps_it_and_more_items_begin_at_nothing(tmp_path) -> None:
    model = counted(3.0, 1.0, 2.0)
    save_model(model, tmp_path, num_users=3, vocabulary="v")
    loaded = load_model(tmp_path, vocabulary="v")
    assert isinstance(loaded, Counted)
    assert loaded.config == PopularityConfig()
    larger = extended(loaded, num_items=5, num_users=4)
    assert encode_catalogue(larger)[:, 0].tolist() == [3, 1, 2, 0, 0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 minutes", 1800), ("1 hour", 3600), ("7 days", 604_800)]
)
def test_a_frequency_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert TrendingConfig(trend_discovery_frequency=text).window_s == seconds


@pytest.mark.parametrize("text", ["0 hours", "hour", "1.5 hours", "2 weeks", "-1 days", ""])
def test_no_other_frequency_is_taken(text: str) -> None:
    with pytest.raises(ValueError, match="trend_discovery_frequency"):
        TrendingConfig(trend_discovery_frequency=text)
