"""What a step costs, counted in numbers that torch reads or writes."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from raysys.config import GruConfig, ModelConfig, PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.training.chosen_items import build_chosen_items
from raysys.training.communication import SingleProcess
from raysys.training.objectives import build_objective
from raysys.training.steps import Steps

_LOOK_UP_ROWS = {
    "embedding",
    "index_select",
    "index",
    "index_copy_",
    "index_put_",
    "searchsorted",
}
"""They read or write for each index a row, or bisect for it, and name the whole table."""
_COST_NOTHING = {
    "detach",
    "alias",
    "view",
    "t",
    "transpose",
    "slice",
    "empty_like",
    "set_",
    "_to_copy",
}


class Numbers(TorchDispatchMode):
    """Counts the numbers in all that operations take and give, but for looking rows up."""

    def __init__(self) -> None:
        super().__init__()
        self.of_operation: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves([args, kwargs, given]) if isinstance(leaf, Tensor)]
        if name in _LOOK_UP_ROWS:
            largest = max(tensors, key=torch.Tensor.numel)
            tensors = [tensor for tensor in tensors if tensor.numel() < largest.numel()]
        if name not in _COST_NOTHING:
            self.of_operation[name] += sum(
                tensor._nnz() * tensor.shape[-1] if tensor.is_sparse else tensor.numel()
                for tensor in tensors
            )
        return given


def numbers_of_steps(model_config: ModelConfig, num_rows: int, **training: object) -> Counter[str]:
    """Count those of three steps, with so many items and users, of whom 40 do anything."""
    few = {"batch_size": 16, "num_negatives": 64, "ema_decay": 0.9, "row_updates_from": 1000}
    settings = TrainingConfig(**few | training)
    config = PipelineConfig(model=model_config, training=settings)
    rows = np.random.default_rng(1).integers(1, 1500, size=(40, 9)).tolist()
    train = Histories.from_lists([f"u{user:02}" for user in range(40)], rows, [range(9)] * 40)
    torch.manual_seed(1)
    model = build_model(model_config, num_items=num_rows, num_users=num_rows)
    comm = SingleProcess()
    chosen_items = build_chosen_items(model, train, config, comm)
    user_nums = np.arange(1, 41)
    objective = build_objective(model, train, user_nums, chosen_items, config, comm)
    steps = Steps(model, objective, settings, comm, all_items_are_scored=False)
    chosen_items.begin(0)
    batches: Iterator[object] = objective.batches(0)
    with Numbers() as numbers:
        for step in range(3):
            assert steps.take(batches, "", step / 3) is not None
    return numbers.of_operation


@pytest.mark.parametrize("optimizer", ["adamw", "adagrad"])
@pytest.mark.parametrize(
    ("model_config", "loss"),
    [
        (GruConfig(hidden_dimension=8, bptt=4), "sampled_softmax"),
        (TwoTowerConfig(embedding_dim=8), "in_batch_softmax"),
        (TwoTowerConfig(embedding_dim=8), "bpr"),
    ],
)
def test_a_step_costs_the_same_however_large_the_tables_are(model_config, loss, optimizer):
    small, large = (
        numbers_of_steps(model_config, num_rows, optimizer=optimizer, loss=loss)
        for num_rows in (2_000, 200_000)
    )
    grown = {name: count for name, count in large.items() if count > 1.2 * small[name] + 1000}
    assert grown == {}


def test_the_measure_sees_where_whole_tables_are_touched():
    numbers = numbers_of_steps(
        TwoTowerConfig(embedding_dim=8), 20_000, loss="bpr", row_updates_from=1_000_000
    )
    assert numbers.total() > 3 * 2 * 20_000 * 8
