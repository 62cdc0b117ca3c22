"""Small histories for tests."""

from raysys.dataset.histories import Histories


def histories_of(*items: list[int]) -> Histories:
    """Return one user per list, whose interactions happened at 0, 1, 2, ... microseconds."""
    users = [f"user {row}" for row in range(len(items))]
    return Histories.from_lists(users, items, [range(len(nums)) for nums in items])
