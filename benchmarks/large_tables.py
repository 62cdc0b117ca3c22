"""What a step of training costs with large tables of embeddings, against small ones.

The same users and batches, with 50,000 and with 5 million rows; the cost of a step is to follow the
batch. CPU seconds are user + system of this process, one thread. Steps of both models alternate, so
that both are timed on the same machine in the same state; the first steps of each are not counted.
Run with `make bench-tables`; the last line is JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from raysys.config import GruConfig, ModelConfig, PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.training.chosen_items import build_chosen_items
from raysys.training.communication import SingleProcess
from raysys.training.objectives import build_objective
from raysys.training.steps import Steps

BAR = 1.5
NUM_USERS, LENGTH, NUM_WARM = 4000, 64, 5
MODELS: dict[str, tuple[ModelConfig, int]] = {
    "two_tower": (TwoTowerConfig(embedding_dim=32), 1024),
    "gru": (GruConfig(hidden_dimension=32), 32),
}


class Training:
    """One model, with so many rows in its tables of items and users."""

    def __init__(self, kind: str, num_rows: int) -> None:
        model_config, batch_size = MODELS[kind]
        settings = TrainingConfig(batch_size=batch_size, max_epochs=1, row_updates_from=50_000)
        settings = settings.model_copy(update={"loss": "sampled_softmax"})
        config = PipelineConfig(model=model_config, training=settings)
        rng = np.random.default_rng(1)
        users = rng.integers(1, num_rows + 1, NUM_USERS)
        items = rng.integers(1, num_rows + 1, (NUM_USERS, LENGTH)).astype(np.int32)
        train = Histories.from_lists(
            [f"{user:05}" for user in range(NUM_USERS)], [*items], [range(LENGTH)] * NUM_USERS
        )
        model = build_model(model_config, num_items=num_rows, num_users=num_rows)
        comm = SingleProcess()
        chosen_items = build_chosen_items(model, train, config, comm)
        objective = build_objective(model, train, users, chosen_items, config, comm)
        self._steps = Steps(model, objective, settings, comm, all_items_are_scored=False)
        chosen_items.begin(0)
        self._batches: Iterator[object] = objective.batches(0)

    def step(self) -> float:
        """Return the CPU seconds of the next step."""
        began = time.process_time()
        if self._steps.take(self._batches, "a benchmark's step", 0.0) is None:
            raise SystemExit("The log is too short for so many steps; give fewer with --steps.")
        return time.process_time() - began


def main() -> int:
    """Return 0 when the bar is met by every model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", type=int, default=50_000, help="rows of a small table")
    parser.add_argument("--large", type=int, default=5_000_000, help="rows of a large table")
    parser.add_argument("--steps", type=int, default=40, help="of each model that are timed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, float] = {}
    for kind in MODELS:
        small, large = Training(kind, arguments.small), Training(kind, arguments.large)
        times = np.array([[small.step(), large.step()] for _ in range(NUM_WARM + arguments.steps)])
        medians = np.median(times[NUM_WARM:], axis=0)
        result[f"{kind}_ratio"] = round(float(medians[1] / medians[0]), 3)
        result[f"{kind}_step_ms"] = round(float(medians[0]) * 1000, 2)
        print(
            f"{kind}: {medians[0] * 1000:.1f} ms a step with {arguments.small:,} rows, "
            f"{medians[1] * 1000:.1f} ms with {arguments.large:,}"
        )
    passed = all(value <= BAR for name, value in result.items() if name.endswith("_ratio"))
    print(json.dumps({"benchmark": "large-tables", **result, "bar": BAR, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
