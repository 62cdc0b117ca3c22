"""Equal scores count against the model.

A served list puts the lower item number first among items of equal score. Were it measured like
that, a model that cannot tell items apart would get credit for how items happen to be numbered:
where the log's ids follow popularity, as MovieLens' do, a constant would look like a model.

Letters for shapes:
    B  lists    K  items that are measured
"""

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.metrics import hits_of_lists
from raysys.evaluation.topk import TopK


def worst_order(top: TopK, relevant: ItemLists) -> NDArray[np.int32]:
    """Return the lists, (B, K), in the order of equals that is worst for the model.

    Of items of equal score the relevant ones come last. Of those that share the score of the item
    behind the end of a list, nobody knows how many follow, so they count as not found: 0 stands in
    their places.

    Args:
        top: lists of K + 1 items.
        relevant: the relevant items of each list.
    """
    is_hit, _ = hits_of_lists(top.item_nums, relevant)
    is_new = top.scores[:, 1:] != top.scores[:, :-1]
    groups = np.pad(np.cumsum(is_new, axis=1), ((0, 0), (1, 0)))  # (B, K + 1)
    nums = np.where(is_hit & (groups == groups[:, -1:]), 0, top.item_nums)
    order = np.lexsort((is_hit, groups), axis=1)  # stable
    return np.take_along_axis(nums, order, axis=1)[:, :-1]
