"""Training on a real Ray: any number of workers learn the same, also when one dies or all stop."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from raysys.config import GruConfig, LeaveLastOut, PipelineConfig, TrainingConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import Held, split
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import TrainingError
from raysys.logs.importing import import_log
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.training.checkpoint import EpochResult
from raysys.training.loop import fit
from raysys.training.trainer import TrainedModel, train_on_ray
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

NUM_ITEMS = 12
NUM_USERS = 23
EPOCHS = 4
# One batch holds every user, so that it does not matter which worker reads whom.
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, bptt=16, dropout=0.0),
    training=TrainingConfig(
        learning_rate=0.02,
        batch_size=10 * NUM_USERS,
        max_epochs=EPOCHS,
        threads_per_worker=1,
    ),
)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray(workers_lack=sys.modules[__name__], include_dashboard=True):
        yield


@dataclass(frozen=True)
class World:
    """A dataset in which item n is followed by item n + 1, and its saved vocabularies."""

    dataset: Path
    items: Path
    users: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), length=9)


def make_world(directory: Path, *, length: int) -> World:
    rows = [
        f"user-{user},item-{(user + step) % NUM_ITEMS},{1_000_000 + step}"
        for user in range(NUM_USERS)
        for step in range(length)
    ]
    log = directory / "log.csv"
    log.write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP", *rows]) + "\n")
    world = World(directory / "dataset", directory / "items.arrow", directory / "users.arrow")
    import_log([log], world.dataset, num_shards=3)
    dataset = open_dataset(world.dataset)
    items = dataset.item_vocabulary()
    items.save(world.items)
    Vocabulary.from_ids(dataset.histories(items).user_ids).save(world.users)
    return world


@dataclass(frozen=True)
class MeasureNextItem:
    """Makes the validation; once, at the end of epoch 2, it kills the worker that it runs in."""

    kill_once: Path | None = None

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        num_calls = 0

        def validate(model: EmbeddingModel) -> dict[str, float]:
            nonlocal num_calls
            num_calls += 1
            if self.kill_once is not None and num_calls == 2 and not self.kill_once.exists():
                self.kill_once.touch()
                os._exit(1)
            scores = encode_histories(model, held.histories) @ encode_catalogue(model).T
            wanted = scores[np.arange(len(held)), held.relevant.item_nums - 1]
            ranks = 1 + (scores > wanted[:, None]).sum(axis=1)
            return {"ndcg_at_10": float((1 / np.log2(1 + ranks)).mean())}

        return validate


def train(
    world: World,
    directory: Path,
    *,
    num_workers: int = 1,
    kill_once: Path | None = None,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    storage: Path | None = None,
) -> TrainedModel:
    training = CONFIG.training.model_copy(update={"num_workers": num_workers})
    return train_on_ray(
        world.dataset,
        world.items,
        world.users,
        CONFIG.model_copy(update={"training": training}),
        directory=directory,
        make_validate=MeasureNextItem(kill_once),
        on_epoch=on_epoch,
        storage=storage,
    )


@dataclass(frozen=True)
class Reference:
    """The same training without Ray."""

    model: EmbeddingModel
    results: list[EpochResult]


@pytest.fixture(scope="module")
def reference(world: World) -> Reference:
    items = Vocabulary.open(world.items)
    parts = split(open_dataset(world.dataset).histories(items), LeaveLastOut())
    torch.manual_seed(CONFIG.training.seed)
    model = build_model(CONFIG.model, num_items=NUM_ITEMS, num_users=NUM_USERS)
    validate = MeasureNextItem()(parts.validation)
    return Reference(model, fit(model, parts.train, config=CONFIG, validate=validate))


def assert_same(trained: TrainedModel, reference: Reference, world: World) -> None:
    for found, expected in zip(trained.results, reference.results, strict=True):
        assert found.epoch == expected.epoch
        assert found.loss == pytest.approx(expected.loss, rel=1e-4)
        assert found.metrics == pytest.approx(expected.metrics, rel=1e-3)
    model = load_model(trained.directory, vocabulary=Vocabulary.open(world.items).hash)
    pairs = zip(model.parameters(), reference.model.parameters(), strict=True)
    for weight, expected_weight in pairs:
        torch.testing.assert_close(weight, expected_weight.detach(), atol=2e-3, rtol=1e-2)


def test_two_workers_learn_what_the_plain_loop_learns(
    world: World, reference: Reference, tmp_path: Path
) -> None:
    heard: list[EpochResult] = []
    trained = train(world, tmp_path / "model", num_workers=2, on_epoch=heard.append)
    assert heard == trained.results
    assert_same(trained, reference, world)


def test_a_worker_that_dies_once_costs_time_but_no_quality(
    world: World, reference: Reference, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    trained = train(world, tmp_path / "model", num_workers=2, kill_once=died)
    assert died.exists()
    assert_same(trained, reference, world)


def test_one_worker_that_was_stopped_goes_on_and_learns_what_the_plain_loop_learns(
    world: World, reference: Reference, tmp_path: Path
) -> None:
    def stop(result: EpochResult) -> None:
        # Ray Train has taken an epoch's checkpoint down when the next but one has ended.
        if result.epoch == 3:
            raise KeyboardInterrupt

    storage = tmp_path / "storage"
    with pytest.raises(KeyboardInterrupt):
        train(world, tmp_path / "model", on_epoch=stop, storage=storage)
    assert not (tmp_path / "model").exists()

    heard: list[EpochResult] = []
    trained = train(world, tmp_path / "model", on_epoch=heard.append, storage=storage)
    assert_same(trained, reference, world)
    assert heard == trained.results[-len(heard) :]
    assert len(heard) < EPOCHS


def test_what_no_retry_can_mend_is_told_at_once(tmp_path: Path) -> None:
    world = make_world(tmp_path, length=1)
    with pytest.raises(TrainingError, match="There is nothing to learn from"):
        train(world, tmp_path / "model")
    assert not (tmp_path / "model").exists()
