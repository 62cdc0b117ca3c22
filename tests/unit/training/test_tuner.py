import pytest

from raysys.config import TrainingConfig
from raysys.errors import ConfigError
from raysys.training.tuner import allowed_parallel


def node(cpus: float, gpus: float = 0, *, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9}}


NODES = [node(4), node(3, 1), node(8, alive=False)]


@pytest.mark.parametrize(
    ("training", "room"),
    [
        (TrainingConfig(), 7),
        (TrainingConfig(cpus_per_worker=2), 3),  # 2 on the first node, 1 on the second
        (TrainingConfig(num_workers=2), 3),
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
