from pathlib import Path

import pytest

from raysys.config import TrainingConfig
from raysys.errors import ConfigError
from raysys.training import tuner
from raysys.training.search_files import SearchFiles
from raysys.training.tuner import TrialWatcher, allowed_parallel


def node(cpus: float, gpus: float = 0, *, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9}}


NODES = [node(4), node(3, 1), node(8, alive=False)]


@pytest.mark.parametrize(
    ("training", "room"),
    [
        (TrainingConfig(), 7),
        (TrainingConfig(cpus_per_worker=2), 3),  # 2 on the first node, 1 on the second
        (TrainingConfig(num_workers=2), 3),
        (TrainingConfig(num_workers=(1, 3)), 2),
        (TrainingConfig(num_workers=(2, 20)), 1),
        (TrainingConfig(cpus_per_worker=0.5, use_gpu=True), 1),
    ],
)
def test_as_many_trials_run_at_a_time_as_the_nodes_have_room_for(
    training: TrainingConfig, room: int
) -> None:
    assert allowed_parallel(None, NODES, training) == room
    assert allowed_parallel(room, NODES, training) == room
    with pytest.raises(ConfigError, match=f"{room + 1} trials at a time.*has room for {room}"):
        allowed_parallel(room + 1, NODES, training)


def test_a_cluster_without_room_for_one_trial_is_refused() -> None:
    with pytest.raises(ConfigError, match="8 training workers were asked for"):
        allowed_parallel(None, NODES, TrainingConfig(num_workers=8))


@pytest.fixture
def watcher(tmp_path: Path) -> TrialWatcher:
    files = SearchFiles(tmp_path / "search")
    files.claim({"metric": "ndcg_at_10"})
    files.trial(2).begin({"bptt": 8})
    return TrialWatcher(files, 2, compared={1, 3})


def test_a_trial_ends_where_it_was_told_to(watcher: TrialWatcher) -> None:
    trial = watcher.search.trial(2)
    assert not watcher.is_over(2)  # nobody is compared here, so there is nothing to wait for
    trial.judge(1, is_over=False)
    assert not watcher.is_over(1)
    trial.judge(3, is_over=True)
    assert watcher.is_over(3)


def test_a_verdict_that_came_while_the_trial_was_cut_off_counts_at_its_next_epoch(
    watcher: TrialWatcher,
) -> None:
    watcher.search.trial(2).judge(1, is_over=True)
    assert watcher.is_over(2)


def test_a_trial_that_nobody_judges_goes_on(
    watcher: TrialWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "_VERDICT_TIMEOUT_S", 0.0)
    assert not watcher.is_over(3)
