"""Whether a cluster can hold the workers of a training; Ray would wait for ever, silently."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from raysys.config import TrainingConfig
from raysys.errors import ConfigError


def num_workers_held(nodes: Sequence[Mapping[str, Any]], training: TrainingConfig) -> int:
    """Return how many workers fit at a time on the nodes, as `ray.nodes()` tells of them.

    What runs there now does not count: it ends some time.
    """
    return sum(_held_by(node["Resources"], training) for node in nodes if node["Alive"])


def check_workers_fit(nodes: Sequence[Mapping[str, Any]], training: TrainingConfig) -> None:
    """Raise ConfigError when not even the empty cluster could run the fewest workers at a time, and
    they are not to wait for more nodes.
    """
    held = num_workers_held(nodes, training)
    if training.wait_for_nodes or held >= training.min_workers:
        return
    needs = f"{training.cpus_per_worker:g} CPUs{' and a GPU' if training.use_gpu else ''}"
    raise ConfigError(
        f"{training.min_workers} training workers were asked for, each with {needs}, but the nodes "
        f"of this cluster have room for {held}: {_described(nodes)}. A worker lies on one node, "
        f"and workers learn together, so training would wait for ever. Ask for fewer workers "
        f"(--workers), make them smaller (cpus_per_worker, use_gpu), or add nodes. Where an "
        f"autoscaler brings nodes that are asked for, say --wait-for-nodes "
        f"(training.wait_for_nodes: true)."
    )


def _described(nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return what the nodes have, such as "2 with 8 CPUs, 1 with 8 CPUs and 1 GPUs"."""
    kinds = Counter(
        (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in nodes
        if node["Alive"]
    )
    return ", ".join(
        f"{count} with {cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        for (cpus, gpus), count in sorted(kinds.items())
    )


def _held_by(resources: Mapping[str, float], training: TrainingConfig) -> int:
    held = math.floor(resources.get("CPU", 0.0) / training.cpus_per_worker + 1e-9)
    return min(held, math.floor(resources.get("GPU", 0.0))) if training.use_gpu else held
