"""Choosing events of a clearly different taste, so that a newcomer sees a list move."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taste:
    """A genre that a user has hardly touched, and its most popular items that are new to them."""

    genre: str
    share_of_history: float
    """How much of the user's history has this genre."""
    item_ids: list[str]


class Catalogue:
    """Titles and genres of the items of a release, in the order of their numbers."""

    def __init__(self, items: pa.Table | None, item_ids: Sequence[str]) -> None:
        self._ids = list(item_ids)
        self._titles = dict(zip(self._ids, self._ids, strict=True))
        self._genres: dict[str, frozenset[str]] = {}
        if items is None:
            return
        ids = items["item_id"].to_pylist()
        if "title" in items.column_names:
            titles = zip(ids, items["title"].to_pylist(), strict=True)
            self._titles.update((item_id, title) for item_id, title in titles if title)
        if "genres" in items.column_names:
            genres = zip(ids, items["genres"].to_pylist(), strict=True)
            self._genres = {item_id: frozenset((text or "").split("|")) for item_id, text in genres}

    def title(self, item_id: str) -> str:
        """Return the item's title, or its id where it has none."""
        return self._titles.get(item_id, item_id)

    def genres(self, item_id: str) -> frozenset[str]:
        """Return the item's genres; empty where none are known."""
        return self._genres.get(item_id, frozenset()) - {""}

    def different_taste(
        self, history: Sequence[str], counts: NDArray[np.int64], *, num_items: int = 3
    ) -> Taste | None:
        """Return the genre that is rarest in a history compared with the catalogue's traffic.

        Args:
            history: item ids, at least one.
            counts: (N,) interactions by item, in the order of the ids.

        Only genres with 2 % of the traffic and three times `num_items` items that the user has not
        touched count. None when the catalogue knows no such genre.
        """
        seen = set(history)
        fresh: dict[str, list[str]] = {}
        traffic: Counter[str] = Counter()
        for position in np.argsort(-counts, kind="stable"):
            item_id = self._ids[position]
            for genre in self.genres(item_id):
                traffic[genre] += int(counts[position])
                if item_id not in seen:
                    fresh.setdefault(genre, []).append(item_id)
        touched = Counter(genre for item_id in history for genre in self.genres(item_id))
        total = sum(traffic.values())
        candidates = [
            genre
            for genre, ids in fresh.items()
            if len(ids) >= 3 * num_items and traffic[genre] >= 0.02 * total
        ]
        if not candidates:
            return None
        rarest = min(
            candidates,
            key=lambda genre: (touched[genre] / len(history) * total / traffic[genre], genre),
        )
        return Taste(rarest, touched[rarest] / len(history), fresh[rarest][:num_items])
