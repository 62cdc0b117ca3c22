import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.models import losses
from raysys.models.losses import full_softmax_loss, in_batch_softmax_loss, squared_error_loss

LOG_2, LOG_3 = math.log(2), math.log(3)


def nums(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def loss_of_rows(
    queries: Tensor,
    rows: Tensor,
    item_of_row: Tensor,
    probability: Tensor | None = None,
    *,
    remove_accidental_hits: bool = True,
    temperature: float = 1.0,
) -> Tensor:
    """The textbook form: one column per row of the batch, row i's own item in column i."""
    logits = queries @ rows.T / temperature
    if probability is not None:
        logits = logits - probability[item_of_row].log()
    if remove_accidental_hits:
        own = torch.eye(len(rows), dtype=torch.bool)
        same = item_of_row[:, None] == item_of_row[None, :]
        logits = logits.masked_fill(same & ~own, -math.inf)
    return F.cross_entropy(logits, torch.arange(len(rows)), reduction="sum")


def test_each_query_costs_what_was_worked_out_by_hand():
    # logits [[2, 0], [0, 2]], so each row costs log(1 + e^-2)
    loss = in_batch_softmax_loss(2 * torch.eye(2), torch.eye(2), nums(0, 1), torch.ones(2))
    assert loss.item() == pytest.approx(2 * math.log1p(math.exp(-2)))


def test_a_query_that_led_to_the_other_item_costs_more():
    # the same logits, but the chosen ones are the zeros: log(1 + e^2)
    loss = in_batch_softmax_loss(2 * torch.eye(2), torch.eye(2), nums(1, 0), torch.ones(2))
    assert loss.item() == pytest.approx(2 * math.log1p(math.exp(2)))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(temperature):
    in_batch = in_batch_softmax_loss(
        torch.eye(2), torch.eye(2), nums(0, 1), torch.ones(2), temperature=temperature
    )
    full = full_softmax_loss(torch.eye(2), torch.eye(2), nums(0, 1), temperature=temperature)
    by_hand = 2 * math.log1p(math.exp(-1 / temperature))
    assert in_batch.item() == pytest.approx(by_hand)
    assert full.item() == pytest.approx(by_hand)


def test_an_items_sampling_probability_lowers_its_logit():
    # both dot products are 1; corrected: 1 + log 2 and 1 + log 4, so p = 2 / (2 + 4)
    loss = in_batch_softmax_loss(
        torch.ones(1, 1),
        torch.ones(2, 1),
        nums(0),
        torch.ones(2),
        sampling_probability=torch.tensor([0.5, 0.25]),
    )
    assert loss.item() == pytest.approx(LOG_3)


def test_a_popular_negative_costs_less_than_a_rare_one():
    def loss(negative_probability: float) -> float:
        return in_batch_softmax_loss(
            torch.ones(1, 1),
            torch.ones(2, 1),
            nums(0),
            torch.ones(2),
            sampling_probability=torch.tensor([0.1, negative_probability]),
        ).item()

    assert loss(0.9) < loss(0.01)


def test_an_accidental_hit_is_no_negative_of_its_own_item():
    # Rows a, a, b with zero logits. Row a chooses between a and b; row b between b, a and a.
    loss = in_batch_softmax_loss(
        torch.zeros(3, 1), torch.zeros(2, 1), nums(0, 0, 1), torch.tensor([2.0, 1.0])
    )
    assert loss.item() == pytest.approx(2 * LOG_2 + LOG_3)


def test_an_accidental_hit_counts_when_it_is_asked_to():
    loss = in_batch_softmax_loss(
        torch.zeros(3, 1),
        torch.zeros(2, 1),
        nums(0, 0, 1),
        torch.tensor([2.0, 1.0]),
        remove_accidental_hits=False,
    )
    assert loss.item() == pytest.approx(3 * LOG_3)


def test_a_query_without_negatives_costs_nothing():
    loss = in_batch_softmax_loss(
        torch.ones(2, 1), torch.ones(1, 1), nums(0, 0), torch.tensor([2.0])
    )
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_a_full_softmax_is_over_every_item_of_the_catalogue():
    # zero logits over 4 items: log 4 for each of the two queries
    loss = full_softmax_loss(torch.zeros(2, 1), torch.zeros(4, 1), nums(3, 0))
    assert loss.item() == pytest.approx(2 * math.log(4))


def test_a_query_does_not_choose_from_what_is_excluded_for_it():
    # zero logits over 4 items: query 0 chooses from 2 of them, query 1 from all, query 2 from 3
    excluded = nums(0, 0, 2), nums(1, 2, 3)
    loss = full_softmax_loss(torch.zeros(3, 1), torch.zeros(4, 1), nums(3, 0, 0), excluded=excluded)
    assert loss.item() == pytest.approx(math.log(2) + math.log(4) + math.log(3))


def test_what_a_query_led_to_is_never_excluded():
    # items 0 and 1 are left, with the logits 1 and 0
    loss = full_softmax_loss(
        torch.ones(1, 1),
        torch.tensor([[1.0], [0.0], [9.0]]),
        nums(0),
        excluded=(nums(0, 0, 0), nums(0, 2, 2)),
    )
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)))


def test_in_a_batch_an_excluded_column_does_not_count_for_any_row_that_holds_it():
    # three rows hold the two items; without item 0 the second row's item stands alone: no loss
    table, chosen, counts = torch.ones(2, 1), nums(0, 1, 0), torch.tensor([2.0, 1.0])
    both = in_batch_softmax_loss(torch.ones(3, 1), table, chosen, counts)
    without = in_batch_softmax_loss(
        torch.ones(3, 1), table, chosen, counts, excluded=(nums(1), nums(0))
    )
    # rows 0 and 2 choose from their item and item 1: log 2 each; row 1 from 1 + 2 of item 0
    assert both.item() == pytest.approx(2 * LOG_2 + LOG_3)
    assert without.item() == pytest.approx(2 * LOG_2)


@pytest.mark.parametrize("logits_at_once", [1, 17, 1 << 19])
def test_an_excluded_pair_gets_no_gradient(monkeypatch, logits_at_once):
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", logits_at_once)
    torch.manual_seed(5)
    queries = torch.randn(12, 4, dtype=torch.float64, requires_grad=True)
    table = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    chosen, weights = torch.randint(0, 7, (12,)), torch.rand(12, dtype=torch.float64)
    is_excluded = torch.rand(12, 7) < 0.4
    rows, columns = is_excluded.nonzero(as_tuple=True)
    loss = full_softmax_loss(
        queries, table, chosen, query_weights=weights, excluded=(rows, columns)
    )
    gradients = torch.autograd.grad(loss, (queries, table))

    is_left_out = is_excluded.scatter(1, chosen[:, None], False)
    logits = (queries @ table.T).masked_fill(is_left_out, -math.inf)
    expected = (F.cross_entropy(logits, chosen, reduction="none") * weights).sum()
    assert loss.item() == pytest.approx(expected.item())
    for found, by_autograd in zip(
        gradients, torch.autograd.grad(expected, (queries, table)), strict=True
    ):
        torch.testing.assert_close(found, by_autograd)


def test_a_weight_multiplies_its_querys_loss():
    queries, candidates = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]])
    loss = full_softmax_loss(
        queries, candidates, nums(0, 0), query_weights=torch.tensor([0.5, 3.0])
    )
    by_hand = 0.5 * math.log1p(math.exp(-1)) + 3 * math.log1p(math.exp(-2))
    assert loss.item() == pytest.approx(by_hand)


def test_no_query_means_no_loss_and_no_gradient():
    candidates = torch.ones(3, 2, requires_grad=True)
    loss = full_softmax_loss(torch.zeros(0, 2), candidates, nums())
    loss.backward()
    assert loss.item() == 0
    assert not candidates.grad.any()


@pytest.mark.parametrize("remove_accidental_hits", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("logits_at_once", [1, 17, 1 << 19])
def test_distinct_columns_give_the_loss_and_gradients_of_one_column_per_row(
    monkeypatch, remove_accidental_hits, corrected, logits_at_once
):
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", logits_at_once)
    torch.manual_seed(3)
    item_of_row = torch.randint(0, 5, (12,))
    table = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    queries = torch.randn(12, 4, dtype=torch.float64, requires_grad=True)
    probability = torch.rand(5, dtype=torch.float64) if corrected else None
    options = {"remove_accidental_hits": remove_accidental_hits, "temperature": 0.7}

    textbook = loss_of_rows(queries, table[item_of_row], item_of_row, probability, **options)
    expected = torch.autograd.grad(textbook, [queries, table])

    distinct, columns, counts = item_of_row.unique(return_inverse=True, return_counts=True)
    loss = in_batch_softmax_loss(
        queries,
        table[distinct],
        columns,
        counts.double(),
        sampling_probability=None if probability is None else probability[distinct],
        **options,
    )
    found = torch.autograd.grad(loss, [queries, table])

    torch.testing.assert_close(loss, textbook)
    torch.testing.assert_close(found, expected)


def test_a_full_softmax_has_the_value_and_gradients_of_torchs_cross_entropy():
    torch.manual_seed(4)
    queries = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    table = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    chosen, weights = torch.randint(0, 6, (9,)), torch.rand(9, dtype=torch.float64)

    reference = (F.cross_entropy(queries @ table.T, chosen, reduction="none") * weights).sum()
    loss = full_softmax_loss(queries, table, chosen, query_weights=weights)

    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(
        torch.autograd.grad(3 * loss, [queries, table]),
        torch.autograd.grad(3 * reference, [queries, table]),
    )


def test_products_in_bfloat16_change_a_loss_and_its_gradients_by_their_rounding_alone():
    torch.manual_seed(5)
    queries = torch.randn(40, 16, requires_grad=True)
    table = torch.randn(30, 16, requires_grad=True)
    chosen = torch.randint(0, 30, (40,))
    found = []
    for is_bfloat16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            loss = full_softmax_loss(queries, table, chosen)
        found.append((loss, *torch.autograd.grad(loss, [queries, table])))
    assert {tensor.dtype for tensor in found[1]} == {torch.float32}
    assert not torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[1], found[0], rtol=0.02, atol=0.05)


def test_logits_of_thousands_do_not_overflow():
    loss = full_softmax_loss(torch.tensor([[4000.0]]), torch.tensor([[1.0], [-1.0]]), nums(1))
    assert loss.item() == pytest.approx(8000)


def test_squared_errors_are_the_values_worked_out_by_hand() -> None:
    # Scores 2 and 3, at temperature 0.5: 4 and 6. Errors 1 and -2, so 0.5 * 1 + 1 * 4.
    queries, candidates = torch.tensor([[1.0, 1], [3, 0]]), torch.tensor([[1.0, 1], [1, 9]])
    loss = squared_error_loss(
        queries,
        candidates,
        torch.tensor([3.0, 8]),
        query_weights=torch.tensor([0.5, 1]),
        temperature=0.5,
    )
    assert loss.item() == pytest.approx(4.5)
