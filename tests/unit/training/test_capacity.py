"""A cluster holds as many workers as fit on its nodes, each of them on one."""

import pytest

from raysys.config import TrainingConfig, parse_config
from raysys.errors import ConfigError
from raysys.training.capacity import check_workers_fit, num_workers_held


def node(cpus: float, gpus: float = 0, *, is_alive: bool = True) -> dict:
    return {"Alive": is_alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9}}


def test_a_worker_lies_on_one_node_and_not_across_two() -> None:
    training = TrainingConfig(cpus_per_worker=2)
    # 3 CPUs hold one worker of 2, 5 hold two; the odd CPUs of both together hold none.
    assert num_workers_held([node(3), node(5)], training) == 3


def test_parts_of_a_cpu_add_up() -> None:
    assert num_workers_held([node(2)], TrainingConfig(cpus_per_worker=0.1)) == 20


def test_dead_nodes_hold_nothing() -> None:
    assert num_workers_held([node(8, is_alive=False), node(1)], TrainingConfig()) == 1


def test_a_worker_on_a_gpu_needs_one_beside_its_cpus() -> None:
    training = TrainingConfig(use_gpu=True)
    assert num_workers_held([node(8, gpus=2), node(1, gpus=4), node(8)], training) == 3


def test_more_workers_than_the_cluster_holds_are_refused_with_how_many_it_holds() -> None:
    nodes = [node(2), node(2)]
    check_workers_fit(nodes, TrainingConfig(num_workers=4))
    with pytest.raises(ConfigError, match="5 training workers.*room for 4"):
        check_workers_fit(nodes, TrainingConfig(num_workers=5))
    with pytest.raises(ConfigError, match="1 CPUs and a GPU, but .* room for 0"):
        check_workers_fit(nodes, TrainingConfig(num_workers=1, use_gpu=True))


def test_workers_that_wait_for_nodes_are_not_refused() -> None:
    training = TrainingConfig(num_workers=2, use_gpu=True)
    with pytest.raises(ConfigError, match="--wait-for-nodes"):
        check_workers_fit([node(8)], training)
    check_workers_fit([node(8)], training.model_copy(update={"wait_for_nodes": True}))


def test_the_refusal_says_what_the_nodes_have() -> None:
    nodes = [node(8), node(4, gpus=1), node(8), node(16, is_alive=False)]
    with pytest.raises(ConfigError, match="room for 1: 1 with 4 CPUs and 1 GPUs, 2 with 8 CPUs."):
        check_workers_fit(nodes, TrainingConfig(num_workers=2, use_gpu=True))


def test_as_many_workers_as_the_cluster_holds_are_enough_if_the_fewest_fit() -> None:
    check_workers_fit([node(2)], TrainingConfig(num_workers=(2, 100)))
    with pytest.raises(ConfigError, match="3 training workers.*room for 2"):
        check_workers_fit([node(2)], TrainingConfig(num_workers=(3, 100)))


@pytest.mark.parametrize("num_workers", [0, (0, 2), (3, 2), (1, 2, 3)])
def test_what_is_no_number_of_workers_is_refused(num_workers: object) -> None:
    with pytest.raises(ConfigError, match="num_workers"):
        parse_config({"num_workers": num_workers}, TrainingConfig, source="here")


def test_a_pair_of_numbers_of_workers_is_read_from_a_list() -> None:
    config = parse_config({"num_workers": [1, 2]}, TrainingConfig, source="here")
    assert (config.min_workers, config.max_workers) == config.num_workers == (1, 2)
