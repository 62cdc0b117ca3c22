"""A query in a context: what a model computes is what is encoded, and strangers stay so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raysys.config import GruConfig, ModelConfig, TransformerConfig, TwoTowerConfig
from raysys.models.base import QueryBatch, TowerModel
from raysys.models.build import build_model
from raysys.models.context import ContextTower
from raysys.models.encode import encode_histories
from raysys.models.two_tower import TwoTower
from tests.unit.histories import histories_of

CONFIGS: list[ModelConfig] = [
    GruConfig(hidden_dimension=8),
    TransformerConfig(hidden_dimension=16),
    TwoTowerConfig(embedding_dim=4, temperature=0.5),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.kind)
def model(request: pytest.FixtureRequest) -> TowerModel:
    torch.manual_seed(3)
    made = build_model(request.param, num_items=5, num_users=2, context_sizes=(3, 4)).eval()
    assert made.context is not None
    for table in made.context.parameters():
        torch.nn.init.normal_(table)
    if isinstance(made, TwoTower):  # untrained, its users are zero
        torch.nn.init.normal_(made.query_tower.ids.weight.detach()[1:])
    return made


def test_a_code_is_the_sum_of_one_row_of_each_column() -> None:
    tower = ContextTower((3, 4), 2, dropout=0.5).eval()
    first, second = tower.parameters()
    with torch.no_grad():
        first.copy_(torch.arange(6.0).reshape(3, 2))
        second.copy_(10 * torch.arange(8.0).reshape(4, 2))
    # 7 is 1 and, of three, 2: [2, 3] + [40, 50].
    assert tower(torch.tensor([7, 0])).tolist() == [[42.0, 53.0], [0.0, 11.0]]


def test_encoding_in_a_context_is_what_the_model_computes(model: TowerModel) -> None:
    codes = np.array([7, 0])
    histories = replace(histories_of([[1, 2], [1, 2]]), asked_in=codes)
    items = torch.tensor([[1, 2]] * 2)
    batch = QueryBatch(
        torch.tensor([1, 2]), items, torch.tensor([2, 2]), None, torch.tensor([[0, 1]] * 2)
    )
    with torch.inference_mode():
        queries = model.in_context(model.encode_queries(batch), torch.from_numpy(codes))
    expected = (queries / model.temperature).numpy()
    found = encode_histories(model, histories, user_nums=np.array([1, 2]))
    np.testing.assert_allclose(found[:, : model.embedding_dim], expected, rtol=1e-5, atol=1e-5)


def test_of_a_stranger_nothing_is_known_in_any_context(model: TowerModel) -> None:
    histories = replace(histories_of([[], []]), asked_in=np.array([7, 3]))
    assert not encode_histories(model, histories, user_nums=np.array([0, 0])).any()
