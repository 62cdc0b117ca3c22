import pytest
import torch

from raysys.config import TrainingConfig
from raysys.training.optimizer import Optimizer
from raysys.training.row_optimizer import build_row_optimizer
from raysys.training.row_tables import RowGradient


def settings(name: str, **others: object) -> TrainingConfig:
    return TrainingConfig(
        **{"optimizer": name, "learning_rate": 0.1, "schedule": "constant", **others}
    )


@pytest.mark.parametrize("name", ["adamw", "adagrad"])
def test_where_every_step_reaches_every_row_it_is_torchs_optimizer(name):
    torch.manual_seed(1)
    start = torch.randn(5, 3)
    table, whole = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = Optimizer([whole], [table], settings(name, weight_decay=0.2))
    for _ in range(4):
        whole.grad = torch.randn(5, 3)
        gradient = RowGradient(torch.arange(5), whole.grad.clone())
        optimizer.step(0.0, [gradient])
    torch.testing.assert_close(table, whole)
    assert not torch.allclose(table, start)


@pytest.mark.parametrize("name", ["adamw", "adagrad"])
def test_a_row_that_is_not_reached_stays_and_later_learns_as_if_the_steps_had_not_been(name):
    config = settings(name, weight_decay=0.2)
    start = torch.randn(4, 2)
    table, alone = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start[2:3].clone())
    optimizer, of_row = (build_row_optimizer(each, config) for each in (table, alone))
    for rows in ([0, 2], [0, 1], [1], [2]):
        gradient = RowGradient(torch.tensor(rows), torch.randn(len(rows), 2))
        optimizer.step(gradient, 0.1)
        if 2 in rows:
            place = rows.index(2)
            of_row.step(RowGradient(torch.tensor([0]), gradient.values[place : place + 1]), 0.1)
    torch.testing.assert_close(table[2], alone[0])
    assert torch.equal(table[3], start[3])


def test_the_first_step_of_a_rare_row_is_as_long_as_that_of_a_common_one():
    # Adam's first step is the learning rate, whatever the gradient.
    table = torch.nn.Parameter(torch.zeros(2, 1))
    optimizer = build_row_optimizer(table, settings("adamw", weight_decay=0.0))
    for _ in range(500):
        optimizer.step(RowGradient(torch.tensor([0]), torch.ones(1, 1)), 0.1)
    optimizer.step(RowGradient(torch.tensor([1]), torch.full((1, 1), 7.0)), 0.1)
    assert table[1].item() == pytest.approx(-0.1)


def test_a_step_that_reaches_no_row_changes_none():
    table = torch.nn.Parameter(torch.ones(2, 1))
    for name in ("adamw", "adagrad"):
        optimizer = build_row_optimizer(table, settings(name))
        optimizer.step(RowGradient(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1)), 0.1)
    assert torch.equal(table, torch.ones(2, 1))
