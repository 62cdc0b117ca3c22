import pytest
import torch

from raysys.config import TrainingConfig
from raysys.training.optimizer import Optimizer, learning_rate


def rates(**settings: object) -> list[float]:
    """The rates of 8 steps that are the whole training, of height 1."""
    config = TrainingConfig(learning_rate=1.0, **settings)
    return [learning_rate(config, step, step / 8) for step in range(8)]


def test_a_constant_rate_stays():
    assert rates(schedule="constant") == [1.0] * 8


def test_a_linear_rate_falls_in_a_straight_line():
    assert rates(schedule="linear") == [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_a_cosine_rate_falls_slowly_at_both_ends():
    # (1 + cos(pi p)) / 2 at p = 0, 1/4, 1/2, 3/4: 1, (1 + sqrt(1/2)) / 2, 1/2, (1 - sqrt(1/2)) / 2
    assert rates(schedule="cosine")[::2] == pytest.approx([1.0, 0.85355339, 0.5, 0.14644661])


def test_warm_up_rises_step_by_step_to_the_schedules_rate():
    assert rates(schedule="constant", warmup_steps=4) == [0.25, 0.5, 0.75] + [1.0] * 5
    assert rates(schedule="linear", warmup_steps=2)[:3] == [0.5, 0.875, 0.75]


def test_steps_are_counted_on_after_a_checkpoint():
    settings = TrainingConfig(learning_rate=1.0, warmup_steps=4, schedule="constant")
    weight = torch.nn.Parameter(torch.zeros(1, 1))
    optimizer, resumed = (Optimizer([weight], [], settings) for _ in range(2))
    weight.grad = torch.ones_like(weight)
    optimizer.step(0.0, [])
    resumed.load_state_dict(optimizer.state_dict())
    before = weight.item()
    resumed.step(0.0, [])
    # Adam's step under an unchanging gradient is its rate, here 2/4, and 1 % of it decays a weight.
    assert weight.item() == pytest.approx(before * (1 - 0.5 * 0.01) - 0.5)


@pytest.mark.parametrize("name", ["adamw", "adagrad"])
def test_weight_decay_shrinks_matrices_and_leaves_vectors_alone(name):
    settings = TrainingConfig(
        optimizer=name, learning_rate=0.1, weight_decay=0.5, schedule="constant"
    )
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    bias = torch.nn.Parameter(torch.ones(2))
    optimizer = Optimizer([matrix, bias], [], settings)
    matrix.grad, bias.grad = torch.zeros_like(matrix), torch.zeros_like(bias)
    optimizer.step(0.0, [])
    assert torch.equal(bias, torch.ones(2))
    assert (matrix < 1).all()
