import pytest
import torch

from raysys.models.dropout import Dropout


@pytest.mark.parametrize("chance", [0.1, 0.4, 0.5, 0.999])
def test_as_many_are_zeroed_as_was_asked_and_the_others_keep_the_mean(chance):
    torch.manual_seed(1)
    dropped = Dropout(chance)(torch.ones(1000, 1003))
    rounded = min(round(256 * chance), 255) / 256
    kept = dropped[dropped != 0]
    assert abs(rounded - chance) <= 1 / 256
    # Five standard errors of a share of a million draws.
    error = 5 * (rounded * (1 - rounded) / dropped.numel()) ** 0.5
    assert 1 - len(kept) / dropped.numel() == pytest.approx(rounded, abs=error)
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rounded)))


def test_neighbours_are_drawn_apart():
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(100_000)) != 0).double()
    for distance in (1, 2, 7, 8):
        both = (kept[:-distance] * kept[distance:]).mean().item()
        assert both == pytest.approx(0.25, abs=0.01)


def test_a_gradient_flows_where_a_value_did():
    values = torch.ones(50, requires_grad=True)
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


@pytest.mark.parametrize(("chance", "is_training"), [(0.0, True), (0.5, False)])
def test_nothing_is_dropped_without_a_chance_or_outside_training(chance, is_training):
    values = torch.randn(20)
    assert torch.equal(Dropout(chance).train(is_training)(values), values)


def test_the_same_seed_drops_the_same():
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(Dropout(0.5)(torch.ones(77)))
    assert torch.equal(*results)
