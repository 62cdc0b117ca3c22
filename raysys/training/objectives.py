"""The objective of each kind of model."""

import numpy as np
from numpy.typing import NDArray

from raysys.config import PipelineConfig
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.models.base import EmbeddingModel
from raysys.models.gru import Gru
from raysys.models.item_to_item import ItemToItem
from raysys.models.transformer import Transformer
from raysys.models.two_tower import TwoTower
from raysys.training.chosen_items import ChosenItems
from raysys.training.communication import Communicator
from raysys.training.item_pair_objective import ItemPairObjective
from raysys.training.objective import Objective
from raysys.training.pair_objective import PairObjective
from raysys.training.segment_objective import SegmentObjective
from raysys.training.window_objective import WindowObjective


def build_objective(
    model: EmbeddingModel,
    train: Histories,
    user_nums: NDArray[np.integer] | None,
    chosen_items: ChosenItems,
    config: PipelineConfig,
    comm: Communicator,
) -> Objective:
    """Return the objective for the model's kind.

    Raises:
        TrainingError: a two-tower model was given no user numbers.
    """
    lanes = _share_of(config.training.batch_size, comm)
    if isinstance(model, Gru):
        return SegmentObjective(model, train, chosen_items, config, lanes, comm)
    if isinstance(model, Transformer):
        return WindowObjective(model, train, chosen_items, config, lanes, comm)
    if isinstance(model, ItemToItem):
        return ItemPairObjective(model, train, chosen_items, config, lanes, comm)
    if not isinstance(model, TwoTower):
        raise TrainingError(f"There is no objective for a {type(model).__name__} yet.")
    if user_nums is None:
        raise TrainingError(
            "A two-tower model learns one embedding per user, but no user numbers were given. "
            "Pass user_nums: the user vocabulary's numbers of train.user_ids."
        )
    return PairObjective(model, train, user_nums, chosen_items, config, lanes, comm)


def _share_of(batch_size: int, comm: Communicator) -> int:
    share, remainder = divmod(batch_size, comm.num_ranks)
    return max(1, share + (comm.rank < remainder))
