"""`raysys update`: let a release learn what is new in a dataset that holds more than it did."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysys.commands.building import WriteModel, build_release, training_now
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.gate import holding_back_the_window, judged_models, store_decision
from raysys.commands.going_on import (
    Update,
    carried_over,
    learning_what_is_new,
    open_update,
)
from raysys.commands.train import show_published
from raysys.config import CountedConfig, GateConfig, PipelineConfig, parse_config
from raysys.errors import ConfigError
from raysys.release import Release, open_release
from raysys.training.warm_start import WarmStart


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Update and publish; the JSON line says whether there was anything new, and good enough."""
    if arguments.epochs < 1:
        raise ConfigError(f"--epochs must be at least 1, but got {arguments.epochs}.")
    gate = _gate(arguments) if arguments.gate else None
    release = open_release(arguments.release)
    release.check_dataset_group(arguments.dataset_group)
    update = open_update(release, arguments.dataset)
    if not update.num_active_users:
        console.say(
            f"  nothing in {arguments.dataset} is newer than release {release.name}: "
            f"it stays as it is"
        )
        return _nothing_published(release)
    shown = {"dataset": arguments.dataset, "dataset_group": release.dataset_group}
    with ray_cluster(
        console, metadata={"command": "update", "updated_from": release.name, **shown}
    ):
        return update_and_report(
            update,
            arguments.releases,
            console,
            epochs=arguments.epochs,
            gate=gate,
            is_anew=arguments.training_mode == "FULL",
        )


def update_and_report(
    update: Update,
    releases: Path,
    console: Console,
    *,
    epochs: int,
    gate: GateConfig | None = None,
    is_anew: bool = False,
) -> dict[str, Any]:
    """Learn on the Ray that runs, publish, print the report and return the JSON line.

    What is counted is counted anew, whatever is new: the old counts are of another time.

    Args:
        epochs: at most, of what is new.
        gate: what a challenger has to pass before anything is published; None: nothing has to.
            There is none where nothing is learnt: weights that stay, and counts.
        is_anew: train from nothing, with the release's settings, on old and new.
    """
    started = time.perf_counter()
    material, name = update.material, update.release.name
    is_counted = isinstance(update.config.model, CountedConfig)
    is_learnable = is_counted or is_anew or update.is_learnable
    if is_counted or is_anew:
        epochs = 1 if is_counted else update.config.training.max_epochs
    counts = {
        "active_users": update.num_active_users,
        "new_items": len(material.items) - update.num_known_items,
        "new_users": len(material.users) - update.num_known_users,
        "epochs": epochs if is_learnable else 0,
    }
    console.say(
        f"  since {name}: {counts['active_users']:,} users did something, "
        f"{counts['new_users']:,} of all users and {counts['new_items']:,} items are new"
    )
    if not is_learnable:
        console.say("  nothing of it can be learnt yet: the weights stay, histories are new")

    def train(config: PipelineConfig, warm_start: WarmStart) -> WriteModel:
        return training_now(config, console, warm_start=warm_start)

    def learning(update: Update) -> WriteModel:
        if is_counted or is_anew:
            return training_now(update.config, console)
        return learning_what_is_new(update, train, epochs=epochs)

    mode = "FULL" if is_anew else "UPDATE"
    lineage: dict[str, Any] = {"updated_from": name, "training_mode": mode, "update": counts}
    if not is_anew:
        lineage["trained_at"] = update.release.trained_at.isoformat()
    decided: dict[str, Any] = {}
    if gate is not None and is_learnable and not is_counted:
        decided = {"gate": _decided(update, gate, releases, learning, console)}
        lineage |= decided
        if not decided["gate"]["promoted"]:
            console.say(f"  {name} stays: {decided['gate']['reason']}")
            return _nothing_published(update.release) | decided
    release, report = build_release(
        material,
        releases,
        update.config,
        recipe=update.release.manifest.recipe,
        write_model=learning(update) if is_learnable else carried_over(update),
        console=console,
        lineage=lineage,
    )
    show_published(release, report, releases, console)
    return {
        "updated": True,
        "release": str(release.path),
        "name": release.name,
        "updated_from": name,
        **counts,
        **decided,
        "evaluation": report.to_json(),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _decided(
    update: Update,
    gate: GateConfig,
    releases: Path,
    learning: Callable[[Update], WriteModel],
    console: Console,
) -> dict[str, Any]:
    """Judge what the release would learn before the window; store and return the decision."""
    config = holding_back_the_window(gate, update.config, update.material, update.after_us)
    before_the_window = None if config is None else replace(update, config=config)
    if before_the_window is not None and before_the_window.is_learnable:
        verdict = judged_models(
            gate,
            update.material,
            releases,
            before_the_window.config,
            champion=carried_over(update),
            challenger=learning(before_the_window),
            console=console,
        )
        decided = verdict.to_json()
    else:
        decided = {
            "promoted": False,
            "reason": f"too little is new: without the newest {gate.window:.0%} of it, on which "
            f"it would be judged, nothing of it can be learnt",
        }
    store_decision(releases, update.release.name, decided)
    return decided


def _gate(arguments: argparse.Namespace) -> GateConfig:
    asked = {"margin": arguments.margin, "window": arguments.window}
    return parse_config(asked, GateConfig, source="the arguments --margin and --window")


def _nothing_published(release: Release) -> dict[str, Any]:
    return {"updated": False, "release": str(release.path), "name": release.name}
