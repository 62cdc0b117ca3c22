"""A model grows with its vocabularies and forgets nothing."""

import numpy as np
import pytest
import torch

from raysys.config import GruConfig, ModelConfig, TransformerConfig, TwoTowerConfig
from raysys.errors import ReleaseMismatchError
from raysys.models.base import EmbeddingModel, QueryBatch
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue
from raysys.models.extension import extended, place_new_items, place_new_users

GRU = GruConfig(hidden_dimension=8)
TRANSFORMER = TransformerConfig(hidden_dimension=16)
TWO_TOWER = TwoTowerConfig(embedding_dim=5)

each_kind = pytest.mark.parametrize(
    "config", [GRU, TRANSFORMER, TWO_TOWER], ids=["gru", "transformer", "two_tower"]
)


def trained(config: ModelConfig) -> EmbeddingModel:
    torch.manual_seed(1)
    return build_model(config, num_items=4, num_users=3).eval()


def queries(model: EmbeddingModel) -> torch.Tensor:
    """Return what a user makes of a history, for the three users that the smaller model knows."""
    histories = torch.tensor([[0, 2, 4], [0, 0, 1], [3, 2, 1]])
    batch = QueryBatch(torch.tensor([1, 2, 3]), histories, torch.tensor([2, 1, 3]))
    return model.eval().encode_queries(batch)


@each_kind
def test_known_users_and_items_keep_their_vectors(config: ModelConfig) -> None:
    model = trained(config)
    torch.manual_seed(2)
    larger = extended(model, num_items=6, num_users=5)
    assert torch.equal(queries(larger), queries(model))
    np.testing.assert_array_equal(encode_catalogue(larger)[:4], encode_catalogue(model))
    assert (larger.num_items, len(encode_catalogue(larger))) == (6, 6)


@pytest.mark.parametrize("config", [GRU, TRANSFORMER], ids=["gru", "transformer"])
def test_new_event_types_begin_at_zero_and_known_ones_stay(config: ModelConfig) -> None:
    model = build_model(config, num_items=4, num_users=3, num_event_types=2)
    model.event_types.weight.detach()[1:] = 1.0
    larger = extended(model, num_items=4, num_users=3, num_event_types=4)
    assert larger.num_event_types == 4
    assert larger.event_types.weight[:, 0].tolist() == [0, 1, 1, 0, 0]
    assert extended(model, num_items=4, num_users=3).num_event_types == 2
    first = extended(trained(config), num_items=4, num_users=3, num_event_types=2)
    assert first.event_types.weight[:, 0].tolist() == [0, 0, 0]


@each_kind
def test_new_items_begin_as_untrained_ones(config: ModelConfig) -> None:
    torch.manual_seed(2)
    untrained = build_model(config, num_items=6, num_users=5)
    model = trained(config)
    torch.manual_seed(2)
    larger = extended(model, num_items=6, num_users=5)
    np.testing.assert_array_equal(encode_catalogue(larger)[4:], encode_catalogue(untrained)[4:])


@each_kind
def test_new_items_can_be_placed_by_padded_vectors_and_no_other_moves(config: ModelConfig) -> None:
    model = trained(config)
    larger = extended(model, num_items=6, num_users=3)
    vectors = np.arange(32, dtype=np.float32).reshape(2, 16)  # wider than both models
    place_new_items(larger, vectors)
    width, catalogue = larger.embedding_dim, encode_catalogue(larger)
    np.testing.assert_array_equal(catalogue[4:, :width], vectors[:, :width])
    np.testing.assert_array_equal(catalogue[:4], encode_catalogue(model))


def test_no_new_item_is_no_change() -> None:
    model = trained(GRU)
    before = encode_catalogue(model).copy()
    place_new_items(model, np.zeros((0, 16), np.float32))
    np.testing.assert_array_equal(encode_catalogue(model), before)


def test_a_smaller_vocabulary_is_refused() -> None:
    with pytest.raises(ReleaseMismatchError, match="has 5 rows, but is to have only 4"):
        extended(trained(GRU), num_items=3, num_users=3)


def test_buckets_of_users_stay_at_the_end_and_new_users_stand_before_them() -> None:
    config = TwoTowerConfig(embedding_dim=2, num_user_buckets=3)
    torch.manual_seed(1)
    model = build_model(config, num_items=4, num_users=2)
    table = model.state_dict()["query_tower.ids.weight"]  # (1 + 2 + 3, 2)
    assert table.shape == (6, 2)
    assert not table[3:].any()  # as an unknown user, until somebody is in the bucket
    table[3:] = torch.arange(6.0).reshape(3, 2)
    larger = extended(model, num_items=4, num_users=7).state_dict()["query_tower.ids.weight"]
    assert larger.shape == (11, 2)
    assert torch.equal(larger[:3], table[:3])
    assert torch.equal(larger[-3:], table[-3:])
    assert not larger[3:-3].any()  # nothing was learnt from them


def test_a_new_user_begins_as_the_bucket_that_was_theirs() -> None:
    config = TwoTowerConfig(embedding_dim=2, num_user_buckets=3)
    model = build_model(config, num_items=4, num_users=2)
    table = model.state_dict()["query_tower.ids.weight"]
    table[3:] = torch.arange(6.0).reshape(3, 2)
    larger = extended(model, num_items=4, num_users=4)
    place_new_users(larger, model, np.array([5, 3]))
    found = larger.state_dict()["query_tower.ids.weight"]
    assert found[3:5].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert torch.equal(found[:3], table[:3])
    assert torch.equal(found[-3:], table[-3:])
