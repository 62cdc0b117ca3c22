"""The figures of a dataset as one JSON value; the page with plots shows the same."""

from typing import Any

import numpy as np

from raysys.dataset.activity import activity
from raysys.dataset.statistics import Statistics

PERCENTILES = (0.5, 0.9, 0.99)
TOP_SHARES = (0.01, 0.1)
_TOP_ITEMS = 10


def summary(statistics: Statistics) -> dict[str, Any]:
    """Return the figures; shares have four digits."""
    total, manifest = statistics.shard, statistics.manifest
    sizes = {
        "interactions": total.rows,
        "users": statistics.num_users,
        "items": statistics.num_items,
    }
    if not total.rows:  # everybody was forgotten
        return sizes
    times = manifest.model_dump(mode="json", include={"first_occurred_at", "last_occurred_at"})
    return {
        **sizes,
        **times,
        "density": _rounded(total.rows / statistics.num_users / statistics.num_items),
        "tied": _rounded(total.tied_rows / total.rows),
        "times_are_whole": statistics.resolution(),
        "history_length": _history_lengths(statistics),
        "popularity": _popularity(statistics),
        "event_types": dict(total.event_types.most_common()) or None,
        "impressions": manifest.impressions.model_dump(),
        "activity": activity(statistics).to_json(),
    }


def top_items(statistics: Statistics) -> list[dict[str, Any]]:
    """Return the most popular items with their titles, as far as they have one."""
    titles = statistics.item_table.titles if statistics.item_table else {}
    return [
        {
            "item_id": row["item_id"],
            "title": titles.get(row["item_id"]),
            "interactions": row["interactions"],
        }
        for row in statistics.items.slice(0, _TOP_ITEMS).to_pylist()
    ]


def gini(statistics: Statistics) -> float:
    """Return how unequal items are: 0 where all are alike, near 1 where few have everything."""
    ascending = statistics.popularity()[::-1]
    ranks = np.arange(1, len(ascending) + 1)
    weighted = float((ranks * ascending).sum()) / float(ascending.sum())
    return (2 * weighted - len(ascending) - 1) / len(ascending)


def _history_lengths(statistics: Statistics) -> dict[str, Any]:
    named = {f"p{share * 100:g}": statistics.length_percentile(share) for share in PERCENTILES}
    return {
        "mean": _rounded(statistics.shard.rows / statistics.num_users),
        **named,
        "max": statistics.shard.longest[0],
        "users_with_two": statistics.users_with(2),
        "users_with_three": statistics.users_with(3),
    }


def _popularity(statistics: Statistics) -> dict[str, Any]:
    return {
        **{
            f"share_of_top_{share * 100:g}_percent": _rounded(
                statistics.share_of_most_popular(share)
            )
            for share in TOP_SHARES
        },
        "gini": _rounded(gini(statistics)),
        "top": top_items(statistics),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
