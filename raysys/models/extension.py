"""A trained model for more items and users than it was trained for.

Letters for shapes:
    M  new items, or new users
    D  width of an embedding, or wider where vectors are padded
"""

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.dataset.feature_table import FeatureTables
from raysys.errors import ReleaseMismatchError
from raysys.models.base import TowerModel
from raysys.models.build import build_model
from raysys.models.two_tower import TwoTower

_USER_TABLE = "query_tower.ids.weight"
_QUERY_TABLES = (_USER_TABLE, "anchor_tower.ids.weight")


def extended(
    model: TowerModel,
    *,
    num_items: int,
    num_users: int,
    num_event_types: int | None = None,
    features: FeatureTables | None = None,
) -> TowerModel:
    """Return a model that is the same for every known id, and untrained for those that follow.

    Buckets of users stay what they are, at the end of the table.

    What is untrained comes from torch's global random generator, as in `build_model`.

    Args:
        num_items, num_users: known ids of vocabularies that go on from the model's own: known ids
            keep their numbers.
        num_event_types: alike, of event types; what nobody has learnt about begins at zero. None:
            those of the model.
        features: of these ids, made by the encoders of the model's own.

    Raises:
        ReleaseMismatchError: the vocabularies are smaller than those of the model.
    """
    larger = build_model(
        model.config,
        num_items=num_items,
        num_users=num_users,
        num_event_types=model.num_event_types if num_event_types is None else num_event_types,
        context_sizes=model.context_sizes,
        features=features,
    )
    weights = larger.state_dict()
    for name, trained in model.state_dict().items():
        target = weights[name]
        if len(target) < len(trained):
            raise ReleaseMismatchError(
                f"{name} of the trained model has {len(trained)} rows, but is to have only "
                f"{len(target)}. Vocabularies grow; this one belongs to something else."
            )
        num_last = model.num_user_buckets if name == _USER_TABLE else 0
        num_first = len(trained) - num_last
        target[:num_first] = trained[:num_first]
        target[len(target) - num_last :] = trained[num_first:]
        if name in _QUERY_TABLES:  # nothing was learnt of them: chance would be taken for a taste
            target[num_first : len(target) - num_last] = 0.0
    if larger.features.items is not None:  # new items lie where their features put them
        larger.item_tower.ids.weight.detach()[model.num_items + 1 :] = 0.0
    return larger


def place_new_items(model: TowerModel, vectors: NDArray[np.floating]) -> None:
    """Give the items with the highest numbers these candidate vectors, (M, D), in place."""
    table = model.item_tower.ids.weight
    rows = torch.from_numpy(vectors[:, : model.embedding_dim]).to(table)
    with torch.no_grad():
        table[len(table) - len(rows) :] = rows


def place_new_users(larger: TowerModel, smaller: TowerModel, rows: NDArray[np.integer]) -> None:
    """Let the users with the highest numbers begin as what they were in the smaller model.

    Args:
        rows: (M,) of the smaller model's table of users, such as those of their buckets.
    """
    if not isinstance(larger, TwoTower) or not isinstance(smaller, TwoTower):
        return  # no table of users
    table, end = larger.query_tower.ids.weight, larger.num_users + 1
    known = smaller.query_tower.ids.weight
    with torch.no_grad():
        table[end - len(rows) : end] = known[torch.from_numpy(rows).long()]
