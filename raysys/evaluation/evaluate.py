"""Rank the whole catalogue for every held-out history, and measure the lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held
from raysys.errors import DatasetError
from raysys.evaluation.comparison import Estimate, estimated_mean, standard_error
from raysys.evaluation.metrics import metrics_of_lists
from raysys.evaluation.scoring import blocks
from raysys.evaluation.ties import worst_order
from raysys.evaluation.topk import Retriever

_USER_BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one retriever reached, user by user."""

    user_ids: pa.StringArray
    """(U,)"""
    values: dict[str, NDArray[np.float64]]
    """(U,) for each metric, under names such as `ndcg_at_10`."""

    @classmethod
    def joined(cls, parts: Sequence["Evaluation"]) -> "Evaluation":
        """Return what one retriever reached on all users, of whom each part has some.

        Raises:
            DatasetError: there is nobody.
        """
        if not parts:
            raise _nothing_to_find(0, 0)
        values = {
            name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values
        }
        return cls(pa.concat_arrays([part.user_ids for part in parts]), values)

    def __len__(self) -> int:
        return len(self.user_ids)

    def means(self) -> dict[str, float]:
        """Return the mean over users of each metric; every user counts the same."""
        return {name: float(values.mean()) for name, values in self.values.items()}

    def standard_errors(self) -> dict[str, float]:
        """Return the standard error of each mean."""
        return {name: standard_error(values) for name, values in self.values.items()}

    def estimate(self, metric: str) -> Estimate:
        """Return one metric's mean with its 95 % bootstrap interval."""
        return estimated_mean(self.values[metric])


def evaluate(
    retriever: Retriever,
    held: Held,
    ks: Sequence[int],
    *,
    exclude_history: bool = True,
    max_seen_items: int = 2000,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure how well a retriever finds what each user did next, in lists that are exact.

    Items of equal score are measured in the order that is worst for the model (`ties`). Users are
    ranked in blocks, so that no matrix of users by items is ever in memory.

    Args:
        retriever: a model or a baseline.
        held: histories to rank from, and the items to be found.
        ks: lengths at which the lists are measured.
        exclude_history: leave out of a list what its user has seen, as serving does. A relevant
            item that the user had seen before then counts as missed. What the user only saw is
            never ranked from, seen or not.
        max_seen_items: the newest different items of a user that count as seen; the same number
            as serving's.
        on_progress: called with how many users are done, and how many there are.

    Raises:
        DatasetError: there is nobody to evaluate, or a user without a relevant item.
    """
    if not len(held) or not held.relevant.lengths.all():
        raise _nothing_to_find(len(held), int((held.relevant.lengths == 0).sum()))
    k = max(ks)
    parts = []
    for rows in blocks(len(held), _USER_BLOCK):
        chosen = np.arange(rows.start, rows.stop)
        relevant = held.relevant.take(chosen)
        histories = asked_as(held.histories.take(chosen), relevant)
        seen = histories.newest_distinct(max_seen_items) if exclude_history else None
        top = retriever.top_k(histories.inputs(), k + 1, excluded=seen)  # one more: who is tied?
        parts.append(metrics_of_lists(worst_order(top, relevant), relevant, ks))
        if on_progress is not None:
            on_progress(rows.stop, len(held))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Evaluation(held.relevant.user_ids, values)


def asked_as(histories: Histories, relevant: Histories) -> Histories:
    """Return histories that ask in the context of the first interaction that is to be found."""
    if relevant.contexts is None:
        return histories
    return replace(histories, asked_in=relevant.contexts[relevant.offsets[:-1]])


def _nothing_to_find(num_users: int, num_without: int) -> DatasetError:
    return DatasetError(
        f"Evaluation needs users with something to be found, but of {num_users} held-out users "
        f"{num_without} have nothing. Use a split that holds interactions back, or import more of "
        f"the log."
    )
