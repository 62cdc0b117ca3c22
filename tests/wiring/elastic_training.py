"""A training with one or two workers on the cluster that RAY_ADDRESS names, as a program.

    python -m tests.wiring.elastic_training DIRECTORY

Where two workers learn, they stop in the third epoch and wait to be killed. Writes a JSON line for
each epoch, and leaves in DIRECTORY/held what each worker had of the users to validate on.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray
import torch.distributed as dist

from raysys.config import GruConfig, PipelineConfig, TrainingConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import Held
from raysys.models.base import EmbeddingModel
from raysys.training.checkpoint import EpochResult
from raysys.training.trainer import train_on_ray
from tests.unit.dataset.builders import Row, write_dataset

NUM_USERS, NUM_ITEMS, LENGTH, EPOCHS = 23, 12, 9, 4
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, bptt=16, dropout=0.0),
    # One batch holds every user, so that it does not matter which worker reads whom.
    training=TrainingConfig(
        learning_rate=0.02, batch_size=230, max_epochs=EPOCHS, num_workers=(1, 2)
    ),
)


@dataclass(frozen=True)
class WaitForTheEnd:
    """Makes the validation of a worker, and writes down whom it validates on."""

    directory: Path

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        num_workers, num_epochs = dist.get_world_size(), 0
        users = held.histories.user_ids.to_pylist()
        (self.directory / f"{num_workers}-{dist.get_rank()}.json").write_text(json.dumps(users))

        def validate(model: EmbeddingModel) -> dict[str, float]:
            nonlocal num_epochs
            num_epochs += 1
            if num_workers == 2 and num_epochs == 3:
                time.sleep(600)
            # Every epoch is better than those before it, also where one worker goes on from
            # whichever checkpoint of the two was complete and counts its own epochs only.
            return {"ndcg_at_10": 0.1 * (3 - num_workers) + 0.01 * num_epochs}

        return validate


def main(directory: Path) -> None:
    ray.init(log_to_driver=False)
    (directory / "held").mkdir(parents=True)
    rows: list[Row] = [
        (f"user-{user:02}", f"item-{(user + step) % NUM_ITEMS:02}", 1_000_000 * step)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    dataset = open_dataset(write_dataset(directory / "dataset", [rows[:90], rows[90:]]))
    dataset.item_vocabulary().save(directory / "items.arrow")
    dataset.user_vocabulary().save(directory / "users.arrow")

    def tell(result: EpochResult) -> None:
        print(json.dumps({"epoch": result.epoch, "loss": result.loss}), flush=True)

    train_on_ray(
        dataset.path,
        directory / "items.arrow",
        directory / "users.arrow",
        CONFIG,
        directory=directory / "model",
        storage=directory / "storage",
        make_validate=WaitForTheEnd(directory / "held"),
        on_epoch=tell,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
