"""From what is known of a batch's queries to their answers, and the slates that remember them."""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from raysys.index.put_items import NOTHING_PUT, PutItems
from raysys.policy.policies import NO_POLICY
from raysys.serving.asked import Asked, Mixture, Shown
from raysys.serving.item_metadata import BECAUSE_OF
from raysys.serving.messages import EXPLORATION, PROMOTED, Answer
from raysys.serving.ranking import Ranked, popular_without
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.unique import new_uuid_at
from raysys.state.slates import Slate


def popular_list(asked: Asked, popular: NDArray[np.integer]) -> Ranked:
    """Return the first of some popular items, by key, that the query may get."""
    banned: NDArray[np.integer] = asked.banned
    if len(asked.banned_keys):
        banned = np.concatenate([banned, asked.banned_keys])
    return Ranked(popular_without(popular, banned, asked.query.num_results))


def answers_of(
    batch: Sequence[Asked],
    release: ReleaseParts,
    new_ids: Mapping[int, str],
    put: PutItems,
    now_us: int,
) -> tuple[list[Answer], list[Slate]]:
    """Return an answer to each query, and the slates to be remembered of them.

    Args:
        new_ids: ids of the items that the release does not know, by key.
        put: what was put since the release.
        now_us: microseconds since 1970 UTC.
    """
    lists = [asked.to_show for asked in batch]
    item_ids = _ids_of(np.concatenate([shown.keys for shown in lists]), release, new_ids)
    answers, slates, start = [], [], 0
    for asked, shown in zip(batch, lists, strict=True):
        end = start + len(shown.keys)
        answer = Answer(
            item_ids=item_ids[start:end],
            scores=shown.scores,
            recommendation_id=f"RID-{new_uuid_at(now_us)}",
            release=release.name,
            source=asked.source,
            reason=asked.reason or (None if end > start else "nothing-left"),
            degraded=asked.is_degraded,
            item_reasons=_item_reasons(shown),
            promotion_names=_promotion_names(asked, shown),
            item_metadata=_item_metadata(asked, shown, release, put),
            seed=asked.seed if shown.mixture or shown.is_promoted else None,
            delta_version=asked.delta_version if shown.mixture or put is not NOTHING_PUT else None,
        )
        answers.append(answer)
        slates.append(_slate_of(asked, shown.mixture, answer, now_us))
        start = end
    return answers, slates


def _slate_of(asked: Asked, mixture: Mixture | None, answer: Answer, now_us: int) -> Slate:
    item_ids = tuple(answer.item_ids)
    return Slate(
        recommendation_id=answer.recommendation_id,
        user_id=asked.query.user_id,
        item_id=asked.query.item_id if _is_about_item(asked) else None,
        shown_at_us=now_us,
        release=answer.release,
        delta_version=answer.delta_version or 0,
        source=answer.source,
        policy=asked.policy if mixture else NO_POLICY,
        exploration_weight=asked.weight if mixture else 0.0,
        seed=asked.seed if mixture else 0,
        item_ids=item_ids,
        propensities=tuple(mixture.propensities) if mixture else (1.0,) * len(item_ids),
        explored=mixture.explored if mixture else (),
        fresh_item_ids=tuple([item_ids[place] for place in mixture.fresh]) if mixture else (),
        is_degraded=answer.degraded,
        also_relevant=mixture.also_relevant if mixture else (),
        nothing_relevant=mixture.nothing_relevant if mixture else (),
        num_fresh=asked.num_fresh if mixture else None,
    )


def _is_about_item(asked: Asked) -> bool:
    return asked.query.user_id is None or asked.source == "similar-items"


def _item_reasons(shown: Shown) -> list[str | None] | None:
    explored = shown.mixture.explored if shown.mixture else ()
    is_promoted = shown.is_promoted or ()
    if not explored and not any(is_promoted):
        return None
    reasons: list[str | None] = [None] * len(shown.keys)
    for place in explored:
        reasons[place] = EXPLORATION
    for place in compress(range(len(is_promoted)), is_promoted):
        reasons[place] = PROMOTED
    return reasons


def _promotion_names(asked: Asked, shown: Shown) -> list[str | None] | None:
    promotion = asked.query.promotion
    if promotion is None or not shown.is_promoted or not any(shown.is_promoted):
        return None
    return [promotion.name if promoted else None for promoted in shown.is_promoted]


def _item_metadata(
    asked: Asked, shown: Shown, release: ReleaseParts, put: PutItems
) -> list[dict[str, str]] | None:
    if not asked.query.metadata_columns:
        return None
    keys = shown.keys.tolist()
    found = release.metadata.of(keys, asked.query.metadata_columns, put)
    because_of = [asked.because_of.get(key, 0) for key in keys]
    if any(because_of):
        places = [place for place, num in enumerate(because_of) if num]
        nums = np.array([because_of[place] for place in places])
        ids = release.items.ids_of(nums)
        for place, item_id in zip(places, ids, strict=True):
            found[place][BECAUSE_OF] = item_id
    return found


def _ids_of(
    keys: NDArray[np.int64], release: ReleaseParts, new_ids: Mapping[int, str]
) -> list[str]:
    is_released = keys > 0
    if is_released.all():
        return release.items.ids_of(keys)
    released = iter(release.items.ids_of(keys[is_released]))
    return [next(released) if key > 0 else new_ids[key] for key in keys.tolist()]
