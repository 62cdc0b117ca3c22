"""What a dataset tells of its items and users, as the features that towers read."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from raysys.commands.material import Material
from raysys.config import (
    CountedConfig,
    EnsembleConfig,
    ItemToItemConfig,
    ModelConfig,
    SequenceConfig,
)
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import FeatureEncoder, feature_fields, fit_features, pieces
from raysys.dataset.item_table import open_item_table, write_item_table, write_user_table
from raysys.logs.schema import Kind


def feature_tables(material: Material, config: ModelConfig) -> FeatureTables:
    """Return the features of all items and users, as far as the model's settings want them.

    None of a side without a table, or whose table has no column to make features of.
    """
    if isinstance(config, CountedConfig | EnsembleConfig):  # its members have their own
        return FeatureTables()
    if isinstance(config, SequenceConfig | ItemToItemConfig):
        return FeatureTables(_fitted(material, Kind.ITEMS) if config.item_features else None)
    return FeatureTables(
        _fitted(material, Kind.ITEMS) if config.item_features else None,
        _fitted(material, Kind.USERS) if config.user_features else None,
    )


def grown_feature_tables(known: FeatureTables, material: Material) -> FeatureTables:
    """Return the features of larger vocabularies, by the encoders that a model was trained with."""

    def grown(kind: Kind, table: FeatureTable | None) -> FeatureTable | None:
        return None if table is None else _encoded(material, kind, lambda _: table.encoder)

    return FeatureTables(grown(Kind.ITEMS, known.items), grown(Kind.USERS, known.users))


def _fitted(material: Material, kind: Kind) -> FeatureTable | None:
    schema = material.dataset.schema(kind)
    fields = () if schema is None else feature_fields(schema)
    if not fields:
        return None
    return _encoded(material, kind, lambda table: fit_features(pieces(table), fields))


def _encoded(
    material: Material, kind: Kind, encoder_for: Callable[[pa.Table], FeatureEncoder]
) -> FeatureTable:
    """Return the features of a side's table, once it stands in the order of the numbers."""
    with tempfile.TemporaryDirectory(prefix="raysys-features-") as work:
        path = Path(work) / "table.arrow"
        if kind is Kind.ITEMS:
            write_item_table(material.dataset.items_path(), material.items, path, Path(work))
        else:
            write_user_table(material.dataset.users_path(), material.users, path, Path(work))
        table = open_item_table(path)
        return FeatureTable.of(table, encoder_for(table))
