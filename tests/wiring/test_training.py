"""Training on a real Ray: any number of workers learn the same, also when one dies or all stop."""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from raysys.config import GruConfig, LeaveLastOut, PipelineConfig, TrainingConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import Held, SplitBlocks, split
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
    """Makes the validation of a worker, which may come to harm.

    Attributes:
        kill_once: once, at the end of its second epoch, the worker is killed; the file says so.
        kill_after_s: that long after it began, with `kill_once`, instead of then.
        wait_for: the last epoch ends only when this file is there.
        seconds: that an epoch takes.
    """

    kill_once: Path | None = None
    kill_after_s: float | None = None
    wait_for: Path | None = None
    seconds: float = 0.0

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        num_calls = 0
        if self.kill_after_s is not None:
            threading.Timer(self.kill_after_s, self.kill).start()

        def validate(model: EmbeddingModel) -> dict[str, float]:
            nonlocal num_calls
            num_calls += 1
            time.sleep(self.seconds)
            if num_calls == 2 and self.kill_after_s is None:
                self.kill()
            while num_calls == EPOCHS and self.wait_for and not self.wait_for.exists():
                time.sleep(0.05)
            scores = encode_histories(model, held.histories) @ encode_catalogue(model).T
            wanted = scores[np.arange(len(held)), held.relevant.item_nums - 1]
            ranks = 1 + (scores > wanted[:, None]).sum(axis=1)
            return {"ndcg_at_10": float((1 / np.log2(1 + ranks)).mean())}

        return validate

    def kill(self) -> None:
        if self.kill_once is not None and not self.kill_once.exists():
            self.kill_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    world: World,
    directory: Path,
    *,
    config: PipelineConfig = CONFIG,
    num_workers: int = 1,
    measure: MeasureNextItem | None = None,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    on_refit: Callable[[float], None] = lambda share: None,
    storage: Path | str | None = None,
) -> TrainedModel:
    training = config.training.model_copy(update={"num_workers": num_workers})
    return train_on_ray(
        world.dataset,
        world.items,
        world.users,
        config.model_copy(update={"training": training}),
        directory=directory,
        make_validate=measure or MeasureNextItem(),
        on_epoch=on_epoch,
        on_refit=on_refit,
        storage=storage or directory.with_name("storage"),
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
    trained = train(
        world, tmp_path / "model", num_workers=2, measure=MeasureNextItem(kill_once=died)
    )
    assert died.exists()
    assert_same(trained, reference, world)


def test_a_worker_that_is_killed_at_any_moment_learns_the_same_weights_bit_for_bit(
    world: World, tmp_path: Path
) -> None:
    # Several batches an epoch, in an order that is drawn, and dropout: what is random must go on
    # from where it was.
    config = CONFIG.model_copy(
        update={
            "model": CONFIG.model.model_copy(update={"dropout": 0.3, "bptt": 4}),
            "training": CONFIG.training.model_copy(update={"batch_size": 5, "max_epochs": 12}),
        }
    )
    undisturbed = train(world, tmp_path / "first" / "model", config=config)
    died, after_s = tmp_path / "died", random.uniform(0, 3)
    measure = MeasureNextItem(kill_once=died, kill_after_s=after_s, seconds=0.25)
    killed = train(world, tmp_path / "second" / "model", config=config, measure=measure)
    assert died.exists(), f"it was to be killed {after_s} s after it began"
    for name in ("loss", "metrics"):
        values = [[getattr(each, name) for each in run.results] for run in (undisturbed, killed)]
        assert values[0] == values[1], f"killed {after_s} s after it began"
    vocabulary = Vocabulary.open(world.items).hash
    models = [load_model(run.directory, vocabulary=vocabulary) for run in (undisturbed, killed)]
    for weight, expected in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(weight, expected), f"killed {after_s} s after it began"


def test_one_worker_that_was_stopped_goes_on_and_learns_what_the_plain_loop_learns(
    world: World, reference: Reference, tmp_path: Path
) -> None:
    known = tmp_path / "storage" / "run" / "checkpoint_manager_snapshot.json"
    first: list[EpochResult] = []

    def stop(result: EpochResult) -> None:
        first.append(result)
        if result.epoch == EPOCHS - 1:
            while not known.exists() or not json.loads(known.read_text())["checkpoint_results"]:
                time.sleep(0.05)
            raise KeyboardInterrupt

    go_on = tmp_path / "go-on"
    storage = f"file://{tmp_path}/storage"
    measure = MeasureNextItem(wait_for=go_on)
    with pytest.raises(KeyboardInterrupt):
        train(world, tmp_path / "model", measure=measure, on_epoch=stop, storage=storage)
    assert not (tmp_path / "model").exists()

    go_on.touch()
    heard: list[EpochResult] = []
    trained = train(
        world, tmp_path / "model", measure=measure, on_epoch=heard.append, storage=storage
    )
    assert_same(trained, reference, world)
    assert heard == trained.results
    assert heard[0] == first[0]  # also in how long it took, so it was not learnt again


def test_a_refit_learns_from_validation_too_for_the_epochs_that_were_best(
    world: World, tmp_path: Path
) -> None:
    training = CONFIG.training.model_copy(update={"refit": True})
    config = CONFIG.model_copy(update={"training": training})
    shares: list[float] = []
    trained = train(
        world,
        tmp_path / "model",
        config=config,
        measure=BestInTheMiddle(),
        on_refit=shares.append,
    )
    assert [result.epoch for result in trained.results] == [1, 2, 3, 4]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0

    items = Vocabulary.open(world.items)
    histories = open_dataset(world.dataset).histories(items)
    (parts,) = SplitBlocks.of(histories, LeaveLastOut(), has_validation=False)
    torch.manual_seed(CONFIG.training.seed)
    expected = build_model(CONFIG.model, num_items=NUM_ITEMS, num_users=NUM_USERS)
    fit(expected, parts.train, config=CONFIG, num_epochs=3)
    model = load_model(trained.directory, vocabulary=items.hash)
    for weight, expected_weight in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, expected_weight.detach(), atol=2e-3, rtol=1e-2)


@dataclass(frozen=True)
class BestInTheMiddle:
    """Makes a validation that finds the third epoch the best."""

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        values = iter([0.1, 0.2, 0.9, 0.3])
        return lambda model: {"ndcg_at_10": next(values)}


def test_what_no_retry_can_mend_is_told_at_once(tmp_path: Path) -> None:
    world = make_world(tmp_path, length=1)
    with pytest.raises(TrainingError, match="There is nothing to learn from"):
        train(world, tmp_path / "model")
    assert not (tmp_path / "model").exists()
