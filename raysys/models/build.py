"""From settings to a model."""

from raysys.config import (
    CountedConfig,
    EnsembleConfig,
    GruConfig,
    ItemToItemConfig,
    ModelConfig,
    TransformerConfig,
)
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import TowerModel
from raysys.models.counted import Counted
from raysys.models.gru import Gru
from raysys.models.item_to_item import ItemToItem
from raysys.models.transformer import Transformer
from raysys.models.two_tower import TwoTower


def build_model(
    config: ModelConfig,
    *,
    num_items: int,
    num_users: int,
    num_event_types: int = 0,
    context_sizes: tuple[int, ...] = (),
    features: FeatureTables | None = None,
) -> TowerModel:
    """Return an untrained model; its weights come from torch's global random generator.

    Args:
        num_items, num_users: known ids of the vocabularies, without the unknown row.
        num_event_types: of the interactions of histories, without the unknown one.
        context_sizes: categories of each column of the context.
        features: what is known of them, by number. Models that do not read it leave it aside.
    """
    if isinstance(config, EnsembleConfig):
        raise TypeError("An ensemble is made of trained models, not of settings.")
    if isinstance(config, GruConfig):
        return Gru(
            config,
            num_items=num_items,
            num_event_types=num_event_types,
            context_sizes=context_sizes,
            features=features,
        )
    if isinstance(config, TransformerConfig):
        return Transformer(
            config,
            num_items=num_items,
            num_event_types=num_event_types,
            context_sizes=context_sizes,
            features=features,
        )
    if isinstance(config, ItemToItemConfig):
        return ItemToItem(config, num_items=num_items, features=features)
    if isinstance(config, CountedConfig):
        return Counted(config, num_items=num_items)
    return TwoTower(
        config,
        num_items=num_items,
        num_users=num_users,
        context_sizes=context_sizes,
        features=features,
    )
