"""Releases as `raysys train` publishes them, untrained or trained without Ray."""

from pathlib import Path

import torch

from raysys import storage
from raysys.commands.building import WriteModel, build_release
from raysys.commands.console import Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.material import Material
from raysys.commands.measuring import MakeValidate
from raysys.config import PipelineConfig
from raysys.models.build import build_model
from raysys.models.weights import save_model
from raysys.release import MODEL_DIRECTORY, USER_VOCABULARY, Release
from raysys.training.loop import fit
from raysys.training.preparation import prepare


def release_untrained(dataset: Path, releases: Path, config: PipelineConfig) -> Release:
    """Publish a release of a dataset, with the weights of an untrained model."""

    def write(material: Material, draft: Path) -> None:
        num_items, num_users = len(material.items), len(material.users)
        torch.manual_seed(0)
        model = build_model(
            config.model,
            num_items=num_items,
            num_users=num_users,
            num_event_types=len(material.event_types),
            context_sizes=material.context.sizes,
            features=feature_tables(material, config.model),
        )
        for name, weight in model.named_parameters():
            if name.split(".")[0] in ("event_types", "gaps"):  # they begin at zero
                torch.nn.init.normal_(weight.detach()[1:])
            if name.startswith("context.columns."):  # so do they
                torch.nn.init.normal_(weight)
            if "projection" in name:  # so do they
                torch.nn.init.normal_(weight)
            if name == "query_tower.ids.weight":  # so may they
                torch.nn.init.normal_(weight.detach()[1 : num_users + 1])
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


def release_trained(dataset: Path, releases: Path, config: PipelineConfig) -> Release:
    """Publish a release of a dataset as `raysys train` does, trained in this process."""
    release, _ = build_release(
        Material.of(dataset, config),
        releases,
        config,
        recipe="custom",
        write_model=trained_in_this_process(config),
        console=Console(as_json=True),
    )
    return release


def trained_in_this_process(config: PipelineConfig) -> WriteModel:
    """Return what stands in for `training_now` where there is no Ray."""

    def write(material: Material, draft: Path) -> None:
        feature_tables(material, config.model).save(draft / "features")
        prepared = prepare(
            material.histories,
            config,
            material.items,
            material.users,
            num_event_types=len(material.event_types),
            context_sizes=material.context.sizes,
            features=draft / "features",
        )
        storage.remove_tree(draft / "features")
        held = prepared.pieces.validation
        validate = MakeValidate(config.evaluation, draft / USER_VOCABULARY)
        fit(
            prepared.model,
            prepared.pieces.train,
            config=config,
            user_nums=prepared.user_nums,
            validate=validate(held) if len(held) else None,
        )
        num_users, vocabulary = len(material.users), material.items.hash
        directory = draft / MODEL_DIRECTORY
        save_model(prepared.model, directory, num_users=num_users, vocabulary=vocabulary)

    return write
