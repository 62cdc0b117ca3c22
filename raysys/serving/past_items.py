"""The items that a user did something of some types with, of the release and of the database.

Letters for shapes:
    M  items found
"""

import numpy as np
from numpy.typing import NDArray

from raysys.filters.binding import EventTypes
from raysys.index.home import keys_of_new_items
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import NO_ITEMS, NO_KEYS
from raysys.state.user_state import UserState
from raysys.tables import UNKNOWN_NUM


def items_of_types(
    release: ReleaseParts, asked: EventTypes, row: int, state: UserState
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the item numbers, (M,), and the keys of items that the release does not know, (M,).

    Args:
        row: of the user in the release's histories; -1 where they have none.
        state: what the database knows of the user.
    """
    if not asked:
        return NO_ITEMS, NO_KEYS
    released = NO_ITEMS
    types, histories = release.interaction_types, release.histories
    if row >= 0 and types is not None:
        span = slice(histories.offsets[row], histories.offsets[row + 1])
        is_asked = np.array([asked.have(name) for name in (None, *types.types.names)])
        released = histories.item_nums[span][is_asked[types.nums[span]]]
    have = {name: asked.have(name) for name in {each.event_type for each in state.interactions}}
    ids = sorted({each.item_id for each in state.interactions if have[each.event_type]})
    nums = release.items.numbers(ids)
    new = [ids[place] for place in np.flatnonzero(nums == UNKNOWN_NUM).tolist()]
    known = np.unique(np.concatenate([released, nums]))
    return known[known != UNKNOWN_NUM], np.sort(keys_of_new_items(new))
