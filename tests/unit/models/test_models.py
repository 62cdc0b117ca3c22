import pytest
import torch

from raysys.config import GruConfig, TwoTowerConfig
from raysys.models.base import QueryBatch
from raysys.models.build import build_model


@pytest.fixture
def gru():
    torch.manual_seed(1)
    model = build_model(GruConfig(hidden_dimension=8), num_items=10, num_users=3)
    return model.eval()


@pytest.fixture
def two_tower():
    torch.manual_seed(1)
    made = build_model(TwoTowerConfig(embedding_dim=4), num_items=10, num_users=3)
    torch.nn.init.normal_(made.query_tower.ids.weight.detach()[1:])  # untrained, they are zero
    return made


def queries(*histories: list[int], width: int = 6) -> QueryBatch:
    rows = [[0] * (width - len(history)) + history for history in histories]
    lengths = torch.tensor([len(history) for history in histories])
    return QueryBatch(torch.zeros(len(rows), dtype=torch.int64), torch.tensor(rows), lengths)


def test_a_history_read_in_two_segments_ends_where_one_segment_ends(gru):
    items = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])  # (4 steps, 2 lanes)
    start = torch.zeros(2, 8)
    whole, last = gru.read_segment(gru.embedded(items), start)
    first, carried = gru.read_segment(gru.embedded(items[:3]), start)
    second, carried = gru.read_segment(gru.embedded(items[3:]), carried)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(carried, last)


def test_a_query_is_the_state_after_the_newest_interaction(gru):
    batch = queries([1, 3, 5, 7], [2])
    states, _ = gru.read_segment(
        gru.embedded(torch.tensor([[1], [3], [5], [7]])), torch.zeros(1, 8)
    )
    single, _ = gru.read_segment(gru.embedded(torch.tensor([[2]])), torch.zeros(1, 8))
    encoded = gru.encode_queries(batch)
    torch.testing.assert_close(encoded[0], states[-1, 0])
    torch.testing.assert_close(encoded[1], single[-1, 0])


def test_an_empty_history_is_the_zero_query(gru):
    assert not gru.encode_queries(queries([], [4]))[0].any()


def test_what_a_gru_reads_is_what_its_state_is_compared_with(gru):
    nums = torch.tensor([3, 1])
    torch.testing.assert_close(gru.encode_candidates(nums), gru.items.ids.weight[nums])


def test_dropout_is_off_outside_training(gru):
    batch = queries([1, 2, 3])
    assert torch.equal(gru.encode_queries(batch), gru.encode_queries(batch))
    gru.train()
    assert not torch.equal(gru.encode_queries(batch), gru.encode_queries(batch))


def test_a_two_tower_query_is_the_users_alone(two_tower):
    users = torch.tensor([2, 2, 1])
    items = torch.tensor([[1], [5], [1]])
    encoded = two_tower.encode_queries(QueryBatch(users, items, torch.ones(3)))
    assert torch.equal(encoded[0], encoded[1])
    assert not torch.equal(encoded[0], encoded[2])


@pytest.mark.parametrize("kind", ["gru", "two_tower"])
def test_the_unknown_item_is_the_zero_vector(kind, request):
    model = request.getfixturevalue(kind)
    assert not model.encode_candidates(torch.tensor([0])).any()


def test_an_unknown_user_is_the_zero_query(two_tower):
    no_items = torch.zeros(1, 0, dtype=torch.int64)
    batch = QueryBatch(torch.tensor([0]), no_items, torch.tensor([0]))
    assert not two_tower.encode_queries(batch).any()


def test_two_tower_embeddings_begin_as_keras_fills_them(two_tower):
    weights = build_model(TwoTowerConfig(), num_items=500, num_users=500).candidate_tower.ids.weight
    assert weights.abs().max() <= 0.05
    assert weights.std().item() == pytest.approx(0.1 / 12**0.5, rel=0.02)
