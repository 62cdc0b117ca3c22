"""The parity law: what is served with weight 0 is what evaluation ranks for the same history."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from raysys.commands.api_client import ApiClient
from raysys.commands.released_model import ReleasedModel


@dataclass(frozen=True)
class Parity:
    """How many of the asked users were served exactly the list that evaluation ranks."""

    num_users: int
    num_equal: int
    first_difference: str | None
    """The first user whose lists differ."""


def compare_served_with_ranked(
    url: str, model: ReleasedModel, user_ids: Sequence[str], *, k: int, max_seen_items: int
) -> Parity:
    """Ask the server for every user and compare each list, item by item, with evaluation's.

    Args:
        user_ids: users of the release without newer events.
        k: length of the lists.
        max_seen_items: the server's cap on what counts as seen.
    """
    histories = model.histories.take(model.histories.rows_of(user_ids))
    ranked = model.ranked(histories, k, max_seen_items=max_seen_items)
    served = _served(url, user_ids, k)
    different = [
        user_id
        for user_id, expected, found in zip(user_ids, ranked, served, strict=True)
        if expected != found
    ]
    return Parity(len(user_ids), len(user_ids) - len(different), next(iter(different), None))


def _served(url: str, user_ids: Sequence[str], k: int, num_threads: int = 8) -> list[list[str]]:
    def ask(chosen: Sequence[str]) -> list[list[str]]:
        client = ApiClient(url)
        try:
            replies = [
                client.recommend(user_id, num_results=k, exploration_weight=0) for user_id in chosen
            ]
        finally:
            client.close()
        return [[item["itemId"] for item in reply.body["itemList"]] for reply in replies]

    with ThreadPoolExecutor(num_threads) as pool:
        parts = pool.map(ask, _parts(user_ids, num_threads))
        return [items for part in parts for items in part]


def _parts(values: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    size = -(-len(values) // count)
    return (values[start : start + size] for start in range(0, len(values), size or 1))
