import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.models import sampled_losses
from raysys.models.losses import full_softmax_loss, in_batch_softmax_loss
from raysys.models.sampled_losses import (
    Negatives,
    binary_cross_entropy_loss,
    bpr_loss,
    gbce_exponent,
    sampled_softmax_loss,
)

LOSSES = [
    sampled_softmax_loss,
    binary_cross_entropy_loss,
    partial(binary_cross_entropy_loss, own_exponent=0.3),
    bpr_loss,
]


def one_query(
    loss, own: float, negatives: list[float], counts=None, expected=None, own_column=-1, **options
) -> float:
    """The loss of a query whose logits with its own item and the negatives are these."""
    ones = [1.0] * len(negatives)
    return loss(
        torch.ones(1, 1),
        torch.tensor([[own]]),
        Negatives(
            torch.tensor(negatives).reshape(-1, 1),
            torch.tensor(counts or ones),
            torch.tensor(expected or ones),
            torch.tensor([own_column]),
        ),
        query_weights=torch.ones(1),
        **options,
    ).item()


def log_1_plus_exp(value: float) -> float:
    return math.log1p(math.exp(value))


def test_a_sampled_softmax_is_the_value_worked_out_by_hand():
    # Negatives of logit 0 and log 3, drawn twice and once where 4 and 1/2 were to be expected:
    # 2/4 * 1 + 1/(1/2) * 3 = 6.5 beside the own item's e^1.
    loss = one_query(
        sampled_softmax_loss, 1.0, [0.0, math.log(3)], counts=[2.0, 1.0], expected=[4.0, 0.5]
    )
    assert loss == pytest.approx(math.log(math.e + 6.5) - 1)


def test_binary_cross_entropy_is_the_value_worked_out_by_hand():
    # -log s(2) - 2 log(1 - s(1)) - log(1 - s(-1)), the first negative being drawn twice
    loss = one_query(binary_cross_entropy_loss, 2.0, [1.0, -1.0], counts=[2.0, 1.0])
    by_hand = log_1_plus_exp(-2) + 2 * log_1_plus_exp(1) + log_1_plus_exp(-1)
    assert loss == pytest.approx(by_hand)


def test_gbce_takes_the_own_items_probability_to_a_power():
    # 256 of 1,001 items: a = 0.256, t = 0.75: 0.256 * (0.75 * (1 - 1/0.256) + 1/0.256) = 0.442
    exponent = gbce_exponent(256, 1001, 0.75)
    assert exponent == pytest.approx(0.442)
    loss = one_query(binary_cross_entropy_loss, 2.0, [1.0], own_exponent=exponent)
    assert loss == pytest.approx(0.442 * log_1_plus_exp(-2) + log_1_plus_exp(1))


def test_gbce_without_calibration_or_with_every_item_as_negative_is_bce():
    assert gbce_exponent(10, 1001, 0.0) == 1
    assert gbce_exponent(1000, 1001, 1.0) == 1
    assert gbce_exponent(5000, 1001, 1.0) == 1
    assert gbce_exponent(100, 1001, 1.0) == pytest.approx(0.1)


def test_bpr_is_the_mean_over_negatives_worked_out_by_hand():
    # own logit 1 against 0, twice, and 3: (2 log(1 + e^-1) + log(1 + e^2)) / 3
    loss = one_query(bpr_loss, 1.0, [0.0, 3.0], counts=[2.0, 1.0])
    assert loss == pytest.approx((2 * log_1_plus_exp(-1) + log_1_plus_exp(2)) / 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_querys_own_item_is_no_negative_of_it(loss):
    with_hit = one_query(loss, 1.0, [0.5, 1.0, -1.0], counts=[2.0, 3.0, 1.0], own_column=1)
    without = one_query(loss, 1.0, [0.5, -1.0], counts=[2.0, 1.0])
    assert with_hit == pytest.approx(without)


@pytest.mark.parametrize(
    ("loss", "nothing"),
    [
        (sampled_softmax_loss, 0.0),
        (bpr_loss, 0.0),
        (binary_cross_entropy_loss, log_1_plus_exp(-1)),
    ],
)
def test_without_a_negative_only_the_own_items_part_is_left(loss, nothing):
    assert one_query(loss, 1.0, [1.0], own_column=0) == pytest.approx(nothing)


@pytest.mark.parametrize("loss", LOSSES)
def test_temperature_divides_the_logits(loss):
    assert one_query(loss, 1.0, [0.5, -2.0], temperature=0.5) == pytest.approx(
        one_query(loss, 2.0, [1.0, -4.0])
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_hardest_negatives_count_when_it_is_asked_to(loss):
    # The hardest is the own item itself, which is none of them.
    logits = [0.3, 2.0, -1.0, 0.9]
    hardest = one_query(loss, 2.0, logits, own_column=1, num_hard_negatives=2)
    assert hardest == pytest.approx(one_query(loss, 2.0, [0.3, 0.9]))
    all_of_them = one_query(loss, 2.0, logits, own_column=1, num_hard_negatives=9)
    assert all_of_them == pytest.approx(one_query(loss, 2.0, logits, own_column=1))


def test_the_hardest_are_found_after_the_correction():
    # Corrected logits: 1 - log 8 = -1.08 and 0 - log 1 = 0, so the second is harder.
    loss = one_query(
        sampled_softmax_loss, 0.0, [1.0, 0.0], expected=[8.0, 1.0], num_hard_negatives=1
    )
    assert loss == pytest.approx(math.log(2))


def test_the_hardest_negatives_of_a_batch_are_those_of_the_textbook():
    # logits [[0, 1, 2, 3]] and the chosen one is 2: against 3 and 1 alone.
    loss = in_batch_softmax_loss(
        torch.ones(1, 1),
        torch.arange(4.0)[:, None],
        torch.tensor([2]),
        torch.ones(4),
        num_hard_negatives=2,
    )
    assert loss.item() == pytest.approx(math.log(1 + math.e + math.exp(-1)))


def test_with_every_item_drawn_as_often_as_expected_it_is_the_full_softmax():
    torch.manual_seed(1)
    queries, table = torch.randn(6, 3), torch.randn(8, 3)
    chosen = torch.randint(0, 8, (6,))
    counts = torch.rand(8) + 1
    negatives = Negatives(table, counts, counts, chosen)
    loss = sampled_softmax_loss(queries, table[chosen], negatives, query_weights=torch.ones(6))
    torch.testing.assert_close(loss, full_softmax_loss(queries, table, chosen))


def random_problem(num_queries: int = 7, num_negatives: int = 5) -> tuple[list[Tensor], Negatives]:
    torch.manual_seed(2)

    def make(rows: int) -> Tensor:
        return torch.randn(rows, 3, dtype=torch.float64, requires_grad=True)

    tensors = [make(num_queries), make(num_queries), make(num_negatives)]
    counts = torch.randint(1, 4, (num_negatives,)).double()
    expected = torch.rand(num_negatives, dtype=torch.float64) + 0.5
    own_columns = torch.randint(-1, num_negatives, (num_queries,))
    return tensors, Negatives(tensors[2], counts, expected, own_columns)


@pytest.mark.parametrize("num_hard_negatives", [None, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_small_differences(loss, num_hard_negatives):
    tensors, negatives = random_problem()
    weights = torch.rand(7, dtype=torch.float64)

    def of(queries: Tensor, own: Tensor, embeddings: Tensor) -> Tensor:
        drawn = Negatives(
            embeddings, negatives.counts, negatives.expected_counts, negatives.own_columns
        )
        return loss(
            queries,
            own,
            drawn,
            query_weights=weights,
            temperature=0.7,
            num_hard_negatives=num_hard_negatives,
        )

    assert torch.autograd.gradcheck(of, tensors)


@pytest.mark.parametrize("logits_at_once", [1, 12])
@pytest.mark.parametrize("loss", LOSSES)
def test_blocks_and_bfloat16_change_nothing_but_rounding(monkeypatch, loss, logits_at_once):
    tensors, negatives = random_problem()
    weights = torch.rand(7, dtype=torch.float64)

    def loss_and_gradients() -> tuple[Tensor, ...]:
        found = loss(tensors[0], tensors[1], negatives, query_weights=weights)
        return found, *torch.autograd.grad(3 * found, tensors)

    whole = loss_and_gradients()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss_and_gradients(), whole, rtol=0.03, atol=0.1)
    monkeypatch.setattr(sampled_losses, "LOGITS_AT_ONCE", logits_at_once)
    torch.testing.assert_close(loss_and_gradients(), whole)


def test_logits_of_hundreds_do_not_overflow():
    assert one_query(sampled_softmax_loss, -300.0, [300.0]) == pytest.approx(600)
    assert one_query(binary_cross_entropy_loss, -300.0, [300.0]) == pytest.approx(600)
    assert one_query(bpr_loss, -300.0, [300.0]) == pytest.approx(600)


def test_binary_cross_entropy_is_that_of_torch():
    tensors, negatives = random_problem()
    negatives = Negatives(
        tensors[2], torch.ones(5).double(), negatives.expected_counts, torch.full((7,), -1)
    )
    weights = torch.rand(7, dtype=torch.float64)
    logits = torch.cat([(tensors[0] * tensors[1]).sum(1)[:, None], tensors[0] @ tensors[2].T], 1)
    is_own = torch.zeros_like(logits)
    is_own[:, 0] = 1
    reference = F.binary_cross_entropy_with_logits(logits, is_own, reduction="none").sum(1)
    torch.testing.assert_close(
        binary_cross_entropy_loss(tensors[0], tensors[1], negatives, query_weights=weights),
        (reference * weights).sum(),
    )
