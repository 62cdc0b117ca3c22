"""The query is the anchor vector of the newest item that is known."""

import numpy as np
import pytest
import torch

from raysys.config import ItemToItemConfig, PipelineConfig, TrainingConfig
from raysys.models.base import QueryBatch
from raysys.models.build import build_model
from raysys.models.encode import HistoryEncoder, encode_catalogue, encode_histories
from raysys.models.extension import extended
from raysys.models.item_to_item import ItemToItem
from raysys.models.weights import load_model, save_model
from tests.unit.histories import NUM_ITEMS, histories_of, random_histories
from tests.unit.models import encoder_laws


@pytest.fixture
def model() -> ItemToItem:
    torch.manual_seed(3)
    built = build_model(ItemToItemConfig(item_id_hidden_dim=20), num_items=NUM_ITEMS, num_users=2)
    assert isinstance(built, ItemToItem)
    return built.eval()


def test_a_query_is_the_anchor_of_the_newest_known_item(model: ItemToItem) -> None:
    found = encode_histories(model, histories_of([[5, 7], [7, 0, 0], [7], [0], []]))
    anchors = model.anchor_tower.ids.weight.detach().numpy()
    assert found.shape == (5, 32)
    assert np.array_equal(found[0, :20], anchors[7])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert not found[3:].any()
    assert encode_histories(model, histories_of([])).shape == (0, 32)


def test_what_is_found_are_the_vectors_of_the_other_tower(model: ItemToItem) -> None:
    candidates = model.candidate_tower.ids.weight.detach().numpy()
    assert np.array_equal(encode_catalogue(model)[:, :20], candidates[1:])
    assert not np.array_equal(candidates, model.anchor_tower.ids.weight.detach().numpy())
    assert not candidates[0].any()


def test_encoding_is_what_the_model_computes_wherever_a_history_stands(model: ItemToItem) -> None:
    histories = random_histories(seed=4, count=60, longest=30)
    encoder_laws.encoding_is_what_the_model_computes(model, histories, rtol=0, atol=0)
    encoder = HistoryEncoder(model)
    encoder_laws.a_history_alone_has_the_bits_it_has_among_others(encoder, histories)
    encoder_laws.an_encoder_keeps_the_weights_it_was_made_with(model)


def test_a_query_without_any_item_is_zeros(model: ItemToItem) -> None:
    nobody = torch.zeros(2, 0, dtype=torch.int64)
    found = model.encode_queries(QueryBatch(torch.zeros(2), nobody, torch.zeros(2)))
    assert found.shape == (2, 20)
    assert not found.any()


def test_a_saved_model_grows_by_items_without_neighbors(model: ItemToItem, tmp_path) -> None:
    save_model(model, tmp_path, num_users=2, vocabulary="v")
    loaded = load_model(tmp_path, vocabulary="v")
    larger = extended(loaded, num_items=NUM_ITEMS + 2, num_users=5)
    asked = histories_of([[NUM_ITEMS], [NUM_ITEMS + 1], [NUM_ITEMS + 2]])
    found = encode_histories(larger, asked)
    assert np.array_equal(found[0], encode_histories(model, histories_of([[NUM_ITEMS]]))[0])
    assert not found[1:].any()
    assert np.array_equal(encode_catalogue(larger)[:NUM_ITEMS], encode_catalogue(model))


def test_items_that_are_forgotten_say_nothing_by_themselves(model: ItemToItem) -> None:
    is_forgotten = np.zeros(NUM_ITEMS + 1, dtype=bool)
    is_forgotten[[3, 9]] = True
    model.forget_items(is_forgotten)
    for tower in (model.anchor_tower, model.candidate_tower):
        is_zero = ~tower.ids.weight.detach().numpy().any(axis=1)
        assert np.flatnonzero(is_zero).tolist() == [0, 3, 9]


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "bpr"])
def test_a_loss_without_the_discount_is_refused(loss: str) -> None:
    with pytest.raises(ValueError, match="learns by in_batch_softmax"):
        PipelineConfig(model=ItemToItemConfig(), training=TrainingConfig(loss=loss))
    PipelineConfig(model=ItemToItemConfig(), training=TrainingConfig(loss="in_batch_softmax"))
