import pytest
import torch

from raysys.training.drawn_items import Proposal


def test_items_are_drawn_as_often_as_is_expected_of_them():
    # 4 items, 12 draws of a step: 9 by how often they are the answer, 3 alike.
    probability = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    proposal = Proposal(probability, num_items=4, num_draws=12, popular_share=0.75)
    expected = proposal.expected_counts(torch.arange(1, 5))
    by_hand = [9 * 0.5 + 3 / 4, 3 / 4, 9 * 0.3 + 3 / 4, 9 * 0.2 + 3 / 4]
    assert expected.tolist() == pytest.approx(by_hand)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.cat([proposal.draw(generator) for _ in range(4000)])
    counts = torch.bincount(drawn, minlength=5)
    assert counts[0] == 0
    # 4,000 steps: a standard deviation is at most sqrt(4000 * 12 / 4) = 110 draws, 0.027 a step
    assert (counts[1:] / 4000).tolist() == pytest.approx(expected.tolist(), abs=0.12)


def test_without_probabilities_all_items_are_drawn_alike():
    proposal = Proposal(None, num_items=5, num_draws=20, popular_share=0.0)
    assert proposal.expected_counts(torch.tensor([2, 5])).tolist() == [4.0, 4.0]
    generator = torch.Generator().manual_seed(2)
    assert set(torch.cat([proposal.draw(generator) for _ in range(50)]).tolist()) == {1, 2, 3, 4, 5}
