"""Releases as `raysys train` publishes them, of models that nothing was learnt by."""

from pathlib import Path

import torch

from raysys.commands.building import build_release
from raysys.commands.console import Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.material import Material
from raysys.config import PipelineConfig
from raysys.models.build import build_model
from raysys.models.weights import save_model
from raysys.release import MODEL_DIRECTORY, Release


def release_untrained(dataset: Path, releases: Path, config: PipelineConfig) -> Release:
    """Publish a release of a dataset, with the weights of an untrained model."""

    def write(material: Material, draft: Path) -> None:
        num_items, num_users = len(material.items), len(material.users)
        torch.manual_seed(0)
        model = build_model(
            config.model,
            num_items=num_items,
            num_users=num_users,
            features=feature_tables(material, config.model),
        )
        for name, weight in model.named_parameters():
            if "projection" in name:  # they begin at zero
                torch.nn.init.normal_(weight)
        vocabulary = material.items.hash
        save_model(model, draft / MODEL_DIRECTORY, num_users=num_users, vocabulary=vocabulary)

    release, _ = build_release(
        Material.of(dataset, config),
        releases,
        config,
        recipe="custom",
        write_model=write,
        console=Console(as_json=True),
    )
    return release
