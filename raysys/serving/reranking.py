"""Lists that clients bring, put into the order in which one user would like them.

The scores are the softmax over the list of what /recommendations ranks by, so the order is the one
in which these items stand there. What cannot be scored follows: by popularity what the release
knows, then, as they came, the items that nobody knows. What is hidden and what a filter does not
let through is left out, and with it what it cannot judge: items that nobody knows.
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.topk import rescore
from raysys.index.home import keys_of_items
from raysys.index.put_items import PutItems
from raysys.serving.asked import Asked, Shown
from raysys.serving.filtering import GatewayFilters
from raysys.serving.item_vectors import VectorsOf
from raysys.serving.messages import Query, RankQuery
from raysys.serving.ranking import Ranked
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import NO_ITEMS


def asked_of(query: RankQuery) -> Asked:
    """Return who asks, as one who asks for recommendations."""
    return Asked(
        Query(
            query.user_id,
            None,
            len(query.item_ids),
            query.context,
            filter_name=query.filter_name,
            filter_values=query.filter_values,
            metadata_columns=query.metadata_columns,
        )
    )


async def show_reranked(
    batch: Sequence[tuple[Asked, RankQuery]],
    release: ReleaseParts,
    put: PutItems,
    filters: GatewayFilters,
    vectors_of: VectorsOf,
) -> dict[int, str]:
    """Decide what is shown to each query, once it is known who asks.

    Args:
        put: what was put since the release.

    Returns the ids of the listed items that the release does not know, by key.
    """
    ids = list(dict.fromkeys(item_id for _, query in batch for item_id in query.item_ids))
    keys: list[int] = keys_of_items(ids, release.items).tolist()
    key_by_id = dict(zip(ids, keys, strict=True))
    wanted = {
        item_id: key
        for asked, query in batch
        if asked.vector is not None
        for item_id in query.item_ids
        if (key := key_by_id[item_id]) > 0 or key in put.new
    }
    vectors = await vectors_of(wanted) if wanted else {}
    for asked, query in batch:
        listed = dict.fromkeys(query.item_ids)
        allowed = await _allowed([key_by_id[item_id] for item_id in listed], asked, put, filters)
        _show(asked, allowed, {*wanted.values()}, vectors, release)
    return {key: item_id for item_id, key in key_by_id.items() if key < 0}


def _show(
    asked: Asked,
    keys: NDArray[np.int64],
    known: Set[int],
    vectors: Mapping[int, NDArray[np.float32]],
    release: ReleaseParts,
) -> None:
    ranked = _scored(asked.vector, keys, vectors)
    if asked.vector is not None:
        num_known = len(known & {*keys.tolist()})
        asked.is_degraded |= len(ranked.keys) < num_known
        if not num_known and len(keys):
            asked.reason = "unknown-items"
        elif num_known and not len(ranked.keys):
            asked.go_without("index-unavailable")
    left = keys[~np.isin(keys, ranked.keys)]
    by_popularity = sorted(left[left > 0].tolist(), key=release.popularity_rank)
    # As integers throughout: a float would not hold the keys of new items.
    known_left = np.array(by_popularity, dtype=np.int64)
    shown = np.concatenate([ranked.keys.astype(np.int64), known_left, left[left < 0]])
    scores: list[float | None] | None = None
    if ranked.scores is not None:
        scores = [*ranked.scores, *[None] * (len(shown) - len(ranked.scores))]
    asked.shown = Shown(shown, scores)


async def _allowed(
    listed: Sequence[int], asked: Asked, put: PutItems, filters: GatewayFilters
) -> NDArray[np.int64]:
    keys = np.array(listed, dtype=np.int64)
    if put.hidden:
        keys = keys[~put.hides(keys)]
    return keys if asked.demand is None else keys[await filters.allows(asked.demand, keys)]


def _scored(
    query: NDArray[np.float32] | None,
    keys: NDArray[np.int64],
    vectors: Mapping[int, NDArray[np.float32]],
) -> Ranked:
    """Rank the items whose vectors are known; without any, or without a query, none."""
    found = np.array(sorted(key for key in keys.tolist() if key in vectors), dtype=np.int64)
    if query is None or not len(found):
        return Ranked(NO_ITEMS)
    candidates = np.stack([vectors[key] for key in found.tolist()])
    # Of equal scores the lower key comes first, as everywhere; places hold any key.
    places = np.arange(len(found))
    top = rescore(query[None], candidates, places.astype(np.int32), places[None], len(found))
    scores = top.scores[0]
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    return Ranked(found[top.item_nums[0]], shares.tolist())
