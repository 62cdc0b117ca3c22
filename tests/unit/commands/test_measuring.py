"""Reports of histories that are measured some users at a time."""

import numpy as np
import pytest

from raysys.commands import measuring
from raysys.commands.measuring import measure
from raysys.config import EvaluationConfig, ItemToItemConfig, PipelineConfig, RandomSplit
from raysys.dataset import histories as histories_module
from raysys.dataset.histories import Histories
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.splits import split
from raysys.errors import DatasetError
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.item_neighbors import ItemNeighbors, SimilarItems
from raysys.evaluation.evaluate import evaluate
from raysys.evaluation.report import Report

NUM_ITEMS = 12
CONFIG = PipelineConfig(evaluation=EvaluationConfig(ks=(3, 10), metric_k=3))


def histories() -> Histories:
    random = np.random.default_rng(1)
    items = [random.integers(1, NUM_ITEMS + 1, n % 7) for n in range(50)]
    return Histories.from_lists(
        [f"u{n:02}" for n in range(50)], items, [np.arange(len(each)) for each in items]
    )


def report(of: Histories, config: PipelineConfig, seen: list[tuple[float, float]]) -> Report:
    ranking = FixedRanking(np.arange(NUM_ITEMS + 1))
    return measure(
        lambda popularity: ranking,
        "gru",
        of,
        NUM_ITEMS,
        config,
        lambda done, total, note="": seen.append((done, total)),
    )


@pytest.mark.parametrize("config", [CONFIG, CONFIG.model_copy(update={"split": RandomSplit()})])
def test_a_report_does_not_depend_on_the_blocks_by_a_single_bit(
    monkeypatch: pytest.MonkeyPatch, config: PipelineConfig
) -> None:
    whole = report(histories(), config, [])
    monkeypatch.setattr(histories_module, "BLOCK_INTERACTIONS", 9)
    seen: list[tuple[float, float]] = []
    blocked = report(histories(), config, seen)
    assert blocked.to_json() == whole.to_json()
    for name, evaluation in whole.evaluations.items():
        assert blocked.evaluations[name].user_ids.equals(evaluation.user_ids)
    assert set(whole.evaluations) == {"gru", "popularity", "last item", "recency EASE"}
    assert len(seen) > 30
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_large_catalogue_is_compared_with_what_followed_recent_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measuring, "_EASE_UP_TO", NUM_ITEMS - 1)
    found = report(histories(), CONFIG, [])
    assert set(found.evaluations) == {"gru", "popularity", "last item", "recent items"}


def test_baselines_learn_from_validation_where_the_model_did() -> None:
    training = CONFIG.training.model_copy(update={"refit": True})
    found = report(histories(), CONFIG.model_copy(update={"training": training}), [])
    test = split(histories(), CONFIG.split).test
    counts = popularity_counts([test.histories, _of_short_histories()], NUM_ITEMS)
    expected = evaluate(FixedRanking(counts), test, CONFIG.evaluation.ks).means()
    assert found.evaluations["popularity"].means() == expected
    before = report(histories(), CONFIG, []).evaluations
    assert before["popularity"].means() != expected
    assert before["gru"].means() == found.evaluations["gru"].means()


def _of_short_histories() -> Histories:
    """Return those of which nothing is held back."""
    everybody = histories()
    return everybody.take(np.flatnonzero((everybody.lengths > 0) & (everybody.lengths < 3)))


def test_items_like_the_newest_are_compared_with_neighbors_by_co_interaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = CONFIG.model_copy(update={"model": ItemToItemConfig()})
    found = report(histories(), config, [])
    assert list(found.evaluations)[-1] == "item neighbors"
    parts = split(histories(), config.split)
    neighbors = SimilarItems(ItemNeighbors.fit([parts.train], NUM_ITEMS))
    expected = evaluate(neighbors, parts.test, config.evaluation.ks).means()
    assert found.evaluations["item neighbors"].means() == expected
    for limit, value in (("_NEIGHBORS_UP_TO", NUM_ITEMS - 1), ("_PAIRS_UP_TO", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(measuring, limit, value)
            assert "item neighbors" not in report(histories(), config, []).evaluations


def test_where_nobody_has_something_to_be_found_there_is_no_report() -> None:
    nobody = Histories.from_lists(["a", "b"], [[1, 2], [3]], [[1, 2], [1]])
    with pytest.raises(DatasetError, match="of 0 held-out users"):
        report(nobody, CONFIG, [])
