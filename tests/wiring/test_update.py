"""A release that learns what is new, on a real Ray; and what Ray's metrics hear of it meanwhile."""

import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray

from raysys.commands.building import build_release, training_now
from raysys.commands.console import Console
from raysys.commands.going_on import open_update
from raysys.commands.material import Material
from raysys.commands.update import update_and_report
from raysys.config import (
    EvaluationConfig,
    GateConfig,
    GruConfig,
    IndexConfig,
    PipelineConfig,
    TrainingConfig,
)
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError
from raysys.logs.importing import import_log
from raysys.models.base import EmbeddingModel
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.release import ITEM_VOCABULARY, MODEL_DIRECTORY, USER_VOCABULARY, Release, open_release
from raysys.training.checkpoint import EpochResult
from raysys.training.trainer import train_on_ray
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

NUM_ITEMS, NUM_USERS, LENGTH = 12, 20, 9
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, bptt=4, dropout=0.0),
    training=TrainingConfig(learning_rate=0.1, batch_size=2, max_epochs=4, patience=30),
    evaluation=EvaluationConfig(ks=(1, 10)),
    index=IndexConfig(num_partitions=2),
)
# Item n is followed by item n + 1, over and over.
OLD = [
    f"user-{user:02},item-{(user + step) % NUM_ITEMS:02},{1_000_000 + step}"
    for user in range(NUM_USERS)
    for step in range(LENGTH)
]
# Then come new items, which follow one another as well, for six known users and a new one.
NUM_NEW_ITEMS = 8
NEW_ITEMS = [f"new-{number}" for number in range(NUM_NEW_ITEMS)]
NEW = [
    f"{user},{NEW_ITEMS[(start + step) % NUM_NEW_ITEMS]},{2_000_000 + step}"
    for start, user in enumerate([*(f"user-{number:02}" for number in range(6)), "late-user"])
    for step in range(NUM_NEW_ITEMS)
]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray(
        workers_lack=sys.modules[__name__],
        include_dashboard=True,
        _system_config={"metrics_report_interval_ms": 1_000},
    ):
        yield


def imported(directory: Path, name: str, rows: list[str]) -> Path:
    log = directory / f"{name}.csv"
    log.write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP", *rows]) + "\n")
    import_log([log], directory / name, num_shards=2)
    return directory / name


def metrics_of_this_node(name: str) -> dict[str, float]:
    """Return the values of one of raysys's metrics, as Prometheus finds them, by its own tag."""
    node = ray.nodes()[0]
    return scraped(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}", name)


def scraped(address: str, name: str) -> dict[str, float]:
    text = urllib.request.urlopen(f"{address}/metrics", timeout=10).read().decode()
    values = {}
    for tags, value in re.findall(rf"(?m)^ray_raysys_{name}\{{(.*)\}} (\S+)$", text):
        own = re.search(r'\b(?:outcome|metric)="([^"]*)"', tags)
        values[own[1] if own else ""] = float(value)
    return values


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@dataclass(frozen=True)
class WaitForGauges:
    """Makes a validation that ends epoch 2 only when Prometheus would find epoch 1's values."""

    address: str

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        num_calls = 0

        def validate(model: EmbeddingModel) -> dict[str, float]:
            nonlocal num_calls
            num_calls += 1
            if num_calls == 1:
                return {"ndcg_at_10": 0.25}
            wait_for(lambda: bool(scraped(self.address, "training_loss")))
            [loss] = scraped(self.address, "training_loss").values()
            found = scraped(self.address, "validation_metric")
            return {"ndcg_at_10": found["ndcg_at_10"], "loss_at_0": loss}

        return validate


def test_prometheus_finds_imported_rows_and_the_newest_epoch(tmp_path: Path) -> None:
    before = metrics_of_this_node("import_rows_total")
    dataset = imported(tmp_path, "dataset", [*OLD, OLD[0], "user-00,,1000000"])
    expected = {"accepted": len(OLD), "duplicate": 1, "quarantined": 1}

    def are_counted() -> bool:
        found = metrics_of_this_node("import_rows_total")
        return {name: found.get(name, 0) - before.get(name, 0) for name in expected} == expected

    wait_for(are_counted)

    material = Material.of(dataset)
    material.items.save(tmp_path / "items.arrow")
    material.users.save(tmp_path / "users.arrow")
    node = ray.nodes()[0]
    results: list[EpochResult] = train_on_ray(
        dataset,
        tmp_path / "items.arrow",
        tmp_path / "users.arrow",
        CONFIG.model_copy(
            update={"training": CONFIG.training.model_copy(update={"max_epochs": 2})}
        ),
        directory=tmp_path / "model",
        storage=tmp_path / "storage",
        make_validate=WaitForGauges(
            f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
        ),
    ).results
    assert results[1].metrics == {
        "ndcg_at_10": 0.25,
        "loss_at_0": pytest.approx(results[0].loss),
    }


def ranks_after(release: Release, history: list[str], wanted: str) -> int:
    """Return the place, from 1, of an item among all but those of the history that is asked."""
    items = Vocabulary.open(release.file(ITEM_VOCABULARY))
    model = load_model(release.path / MODEL_DIRECTORY, vocabulary=items.hash)
    nums = items.numbers(history)
    query = encode_histories(model, Histories.from_lists(["?"], [nums], [range(len(nums))]))[0]
    scores = encode_catalogue(model) @ query
    scores[nums - 1] = -np.inf
    return int(1 + (scores > scores[items.number(wanted) - 1]).sum())


def test_an_update_learns_what_is_new_and_keeps_what_was_known(tmp_path: Path) -> None:
    console, releases = Console(as_json=True), tmp_path / "releases"
    first, _ = build_release(
        Material.of(imported(tmp_path, "old", OLD)),
        releases,
        CONFIG,
        recipe="custom",
        write_model=training_now(CONFIG, console),
        console=console,
    )
    both = imported(tmp_path, "both", [*OLD, *NEW])
    update = open_update(first, both)
    judged = update_and_report(update, releases, console, epochs=1, gate=GateConfig())
    assert (judged["updated"], judged["gate"]["users"]) == (False, 7)  # too few to be sure
    assert open_release(releases).name == first.name

    result = update_and_report(update, releases, console, epochs=15)
    second = open_release(releases)
    second.verify()
    counts = {"updated": True, "active_users": 7, "new_users": 1, "new_items": 8, "epochs": 15}
    assert {**counts, "updated_from": first.name, "name": second.name}.items() <= result.items()
    assert second.manifest.lineage["updated_from"] == first.name
    assert second.manifest.recipe == first.manifest.recipe

    for name, new in ((ITEM_VOCABULARY, NEW_ITEMS), (USER_VOCABULARY, ["late-user"])):
        known = Vocabulary.open(first.file(name)).ids.to_pylist()
        assert Vocabulary.open(second.file(name)).ids.to_pylist() == [*known, *new]
    history = [f"item-{number:02}" for number in range(6)]
    assert ranks_after(first, history, "item-06") == 1
    assert ranks_after(second, history, "item-06") == 1
    # It is 15 of 21 without learning, when those who came back are still offered what is old. Of
    # what is old nothing is learnt again, and so many epochs cost some who did not come back.
    assert second.manifest.metrics["hit_rate_at_1"] > 16 / 21

    assert open_update(second, both).num_active_users == 0
    with pytest.raises(DatasetError, match="no interaction with 8 of the 20 items"):
        open_update(second, tmp_path / "old")
    assert np.array_equal(Histories.open(second.file("histories.arrow")).lengths[-1:], [LENGTH])
