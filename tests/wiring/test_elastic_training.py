"""A node of a cluster dies while two workers learn: training goes on with one, and with all users.

The nodes share this machine, but each has an address of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import LeaveLastOut, split
from raysys.models.build import build_model
from raysys.models.weights import load_model
from raysys.serving.cluster import free_port
from raysys.training.loop import fit
from tests.wiring.elastic_training import CONFIG, EPOCHS, NUM_ITEMS, NUM_USERS
from tests.wiring.running_cluster import ROOT, cluster_environment, running_cluster

pytestmark = pytest.mark.ray

NODES = [{"num_cpus": 1}, {"num_cpus": 1}]


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="el-", dir="/tmp"))  # sockets need short paths
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_a_node_that_dies_takes_its_worker_along_and_no_user(directory: Path) -> None:
    token = "a-token-of-this-test-alone-0123456789"
    environment = os.environ | cluster_environment(token)
    with running_cluster(directory, NODES, environment, port=free_port()) as cluster:
        heard = []
        with subprocess.Popen(
            [sys.executable, "-m", "tests.wiring.elastic_training", str(directory / "work")],
            env=environment | {"RAY_ADDRESS": cluster.address},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as training:
            assert training.stdout is not None
            for line in training.stdout:
                if not line.startswith("{"):  # Ray tells there of nodes that died
                    continue
                heard.append(json.loads(line))
                if len(heard) == 2:
                    cluster.kill(1)
        assert training.returncode == 0
    check_held(directory / "work" / "held")
    check_learnt(directory / "work", {each["epoch"]: each["loss"] for each in heard})


def check_held(held: Path) -> None:
    """Two workers shared the users, and the one that was left had them all."""
    users = {path.stem: json.loads(path.read_text()) for path in held.iterdir()}
    everybody = [f"user-{user:02}" for user in range(NUM_USERS)]
    assert set(users) == {"2-0", "2-1", "1-0"}
    assert users["2-0"]
    assert users["2-1"]
    assert sorted(users["2-0"] + users["2-1"]) == sorted(users["1-0"]) == everybody


def check_learnt(work: Path, losses: dict[int, float]) -> None:
    """What was learnt is what the plain loop learns from all users."""
    dataset = open_dataset(work / "dataset")
    items = dataset.item_vocabulary()
    torch.manual_seed(CONFIG.training.seed)
    expected = build_model(CONFIG.model, num_items=NUM_ITEMS, num_users=NUM_USERS)
    train = split(dataset.histories(items), LeaveLastOut()).train
    results = fit(expected, train, config=CONFIG)
    assert losses == pytest.approx({each.epoch: each.loss for each in results}, rel=1e-4)
    assert len(results) == EPOCHS
    model = load_model(work / "model", vocabulary=items.hash)
    for weight, expected_weight in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, expected_weight.detach(), atol=2e-3, rtol=1e-2)
