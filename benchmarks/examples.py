"""Examples per second into the training loop, against the same tensors already in memory.

MovieLens-100K and the demo's GRU. The product's way: Ray Data reads the shards into files, the loop
reads the mapped files. Beside it the same loop reads copies of the same arrays in memory. Epochs
of both take turns in one process, so that other work on the machine slows both alike; the ratio is
that of their medians, and `cpu_ratio` the same of CPU seconds, which other work disturbs less.
`ratio_with_loading` also counts what happens once, reading and splitting,
over as many epochs as the demo has at most. Run with `make bench-examples`; the last line is JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from movielens_on_ray import movielens_on_ray

from raysys.config import PipelineConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.recipes import USER_PERSONALIZATION
from raysys.training.loading import load_users
from raysys.training.loop import fit
from raysys.training.pieces import pieces_of

BAR = 0.85


def in_memory(histories: Histories) -> Histories:
    """Return copies of the arrays."""
    weights = None if histories.weights is None else np.array(histories.weights)
    return replace(
        histories,
        offsets=np.array(histories.offsets),
        item_nums=np.array(histories.item_nums),
        occurred_at_us=np.array(histories.occurred_at_us),
        weights=weights,
    )


def epoch_s(train: Histories, num_items: int, config: PipelineConfig) -> tuple[float, float, float]:
    """Learn for one epoch; return its seconds, its examples per second, and its CPU seconds."""
    torch.manual_seed(0)
    model = build_model(config.model, num_items=num_items, num_users=1)
    cpu_s = time.process_time()
    (result,) = fit(model, train, config=config)
    return result.seconds, result.examples_per_s, time.process_time() - cpu_s


def measure(dataset: Path, items: Path, rounds: int) -> dict[str, float]:
    """Load the users of one worker, and learn from the files and from memory in turn."""
    config = USER_PERSONALIZATION.configure({})
    num_epochs = config.training.max_epochs
    settings = config.training.model_copy(update={"max_epochs": 1})
    opened = open_dataset(dataset)
    vocabulary = opened.item_vocabulary()
    vocabulary.save(items)
    shards = [path.absolute() for path in opened.shard_paths()]
    load_users(shards, items, config.feedback)  # Ray starts its workers
    began = time.perf_counter()
    train = pieces_of(load_users(shards, items, config.feedback), config).train
    loading_s = time.perf_counter() - began
    ways = {"loader": train, "memory": in_memory(train)}
    config = config.model_copy(update={"training": settings})
    for way in ways.values():  # caches and allocators get warm
        epoch_s(way.slice(0, 32), len(vocabulary), config)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            found[name].append(epoch_s(ways[name], len(vocabulary), config))
            print(f"round {number + 1}, {name}: {found[name][-1][1]:,.0f} examples/s", flush=True)
    seconds = {name: statistics.median(each[0] for each in runs) for name, runs in found.items()}
    per_s = {name: statistics.median(each[1] for each in runs) for name, runs in found.items()}
    cpu_s = {name: statistics.median(each[2] for each in runs) for name, runs in found.items()}
    return {
        "examples_per_epoch": float(train.num_interactions - len(train)),
        "loader_per_s": round(per_s["loader"], 1),
        "memory_per_s": round(per_s["memory"], 1),
        "ratio": round(per_s["loader"] / per_s["memory"], 4),
        "cpu_ratio": round(cpu_s["memory"] / cpu_s["loader"], 4),
        "loading_s": round(loading_s, 3),
        "ratio_with_loading": round(
            num_epochs * seconds["memory"] / (loading_s + num_epochs * seconds["loader"]), 4
        ),
    }


def main() -> int:
    """Return 0 when the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="where the data is kept")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with movielens_on_ray(arguments.cache) as dataset:
        result = measure(dataset, dataset.with_name("items.arrow"), arguments.rounds)
    passed = result["ratio"] >= BAR and result["ratio_with_loading"] >= BAR
    load = [round(each, 2) for each in os.getloadavg()]
    line = {"benchmark": "examples", **result, "bar": BAR, "load": load, "passed": passed}
    print(json.dumps(line))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
