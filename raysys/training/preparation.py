"""From the histories of a worker's users to what its training begins with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.config import PipelineConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.dataset.histories import Histories
from raysys.dataset.selection import Total, alone
from raysys.dataset.vocabulary import Vocabulary
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.item_to_item import ItemToItem
from raysys.models.two_tower import TwoTower
from raysys.training.pieces import Pieces, pieces_of
from raysys.training.warm_start import WarmStart


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `loop.fit` takes.

    Attributes:
        user_nums: (U,) the user vocabulary's numbers of those who are learnt from.
    """

    model: EmbeddingModel
    pieces: Pieces
    user_nums: NDArray[np.integer]


def prepare(
    histories: Histories,
    config: PipelineConfig,
    items: Vocabulary,
    users: Vocabulary,
    *,
    num_event_types: int = 0,
    context_sizes: tuple[int, ...] = (),
    features: Path | None = None,
    warm_start: WarmStart | None = None,
    total: Total = alone,
    has_validation: bool = True,
) -> Prepared:
    """Divide the histories, and make the model that begins: the same on every worker.

    Args:
        histories: of the caller's users, nothing held back.
        num_event_types: of the histories, beside the unknown one. A warm start has its own.
        context_sizes: categories of each column of the context. A warm start has its own.
        features: where `FeatureTables.save` wrote what is known of items and users; None, or a
            directory that is not there: nothing. A warm start has its own.
        warm_start: go on from a trained model; None: learn all from nothing.
        total: adds up the counts of all who hold users.
        has_validation: otherwise what would be validation is learnt.

    Raises:
        ConfigError, DatasetError: the users cannot be split in this way.
        DamagedReleaseError, ReleaseMismatchError: see `WarmStart.load`.
    """
    pieces = pieces_of(histories, config, total, has_validation=has_validation)
    torch.manual_seed(config.training.seed)
    if warm_start is None:
        known = FeatureTables() if features is None else FeatureTables.open(features)
        model: EmbeddingModel = build_model(
            config.model,
            num_items=len(items),
            num_users=len(users),
            num_event_types=num_event_types,
            context_sizes=context_sizes,
            features=known,
        )
    else:
        pieces = warm_start.narrowed(pieces, histories)
        model = warm_start.load(items.hash)
    user_nums = users.numbers(pieces.train.user_ids, num_buckets=model.num_user_buckets)
    if warm_start is None:
        _forget_who_is_not_there(model, pieces.train, user_nums, total)
    return Prepared(model, pieces, user_nums)


def _forget_who_is_not_there(
    model: EmbeddingModel, train: Histories, user_nums: NDArray[np.integer], total: Total
) -> None:
    """Leave nothing to chance of users and items that are known and not learnt from."""
    if isinstance(model, TwoTower):
        num_rows = len(model.query_tower.ids.weight)
        num_targets = [block.num_targets() for block in train.blocks()]
        learnt_from = user_nums[np.concatenate([np.zeros(0, np.int64), *num_targets]) > 0]
        model.forget_users(total(np.bincount(learnt_from, minlength=num_rows)) == 0)
    if isinstance(model, ItemToItem):
        counts = np.zeros(model.num_items + 1, np.int64)
        for block in train.blocks():
            counts += np.bincount(block.item_nums, minlength=model.num_items + 1)
        model.forget_items(total(counts) == 0)
