"""Random numbers that begin anew."""

import torch

from raysys.models.device import seed_random_numbers


def test_a_seed_begins_the_numbers_that_torch_itself_begins_with_it() -> None:
    for seed in (0, 7, 2**63 - 1):
        torch.manual_seed(seed)
        expected = torch.rand(5)
        torch.rand(3)
        seed_random_numbers(seed, torch.device("cpu"))
        assert torch.equal(torch.rand(5), expected)
