"""cluster.yaml and serve_configs/ are what Ray's own readers take them for, and fit together."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from raysys.config import ServingConfig, parse_config
from raysys.serving.listen import check_listen_address

ROOT = Path(__file__).parents[2]


def yaml_of(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def serving_config(name: str) -> ServingConfig:
    (application,) = yaml_of(name)["applications"]
    return parse_config(application["args"], ServingConfig, source=name)


@pytest.fixture
def cluster() -> Any:
    return yaml_of("cluster.yaml")


def test_the_launcher_takes_the_cluster(cluster: Any) -> None:
    validate_config(prepare_config(cluster))


def test_the_launcher_would_refuse_a_key_that_it_does_not_know(cluster: Any) -> None:
    with pytest.raises(ValidationError, match="max_worker"):
        validate_config(prepare_config(cluster | {"max_worker": 3}))


def test_every_command_of_the_cluster_is_one_that_a_shell_can_read(cluster: Any) -> None:
    kinds = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    commands = [command for kind in kinds for command in cluster[kind]]
    assert len(commands) == 9
    for command in commands:
        assert "\n" not in command
        subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """A node's home, whose python is this one and whose `ray` says how it was started."""
    with tempfile.TemporaryDirectory(prefix="h-", dir="/tmp") as directory:
        programs = Path(directory) / "venv" / "bin"
        programs.mkdir(parents=True)
        said = ["$*", "$RAY_AUTH_MODE", "$PGHOST", "$RAY_SERVE_ENABLE_HA_PROXY"]
        for name, line in {
            "python": f'exec {sys.executable} "$@"',
            "ray": f"echo {' / '.join(said)}; ls $RAY_SERVE_HAPROXY_BINARY_PATH",
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o755)
        yield Path(directory)


def test_a_node_starts_ray_with_token_database_and_fast_settings(cluster: Any, home: Path) -> None:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}

    def run(command: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()

    for command in cluster["setup_commands"][-2:] * 2:  # as again after `ray up` a second time
        run(command)
    assert (home / ".bashrc").read_text() == ". ~/raysys-env.sh\n"
    expected = "token / POSTGRESQL-HOST / 1"
    program = f"{home}/.raysys/ha/start-haproxy"
    assert run(cluster["worker_start_ray_commands"][-1]) == [
        f"start --address=10.0.0.1:6379 / {expected}",
        program,
    ]
    assert run(cluster["head_start_ray_commands"][-1]) == [
        "start --head --port=6379 --dashboard-host=127.0.0.1 "
        f"--autoscaling-config=~/ray_bootstrap_config.yaml / {expected}",  # Ray expands the ~
        program,
    ]


def test_every_node_gets_the_token_the_password_and_raysys(cluster: Any) -> None:
    targets = cluster["file_mounts"]
    assert targets["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert targets["/home/ubuntu/.pgpass"] == "~/.pgpass"
    assert targets["/home/ubuntu/raysys"] == "."
    starts = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    assert all(command.startswith(". ~/raysys-env.sh && ") for command in starts)
    (environment,) = [line for line in cluster["setup_commands"] if "> ~/raysys-env.sh" in line]
    assert "export RAY_AUTH_MODE=token" in environment
    assert "raysys.serving.cluster --several-nodes " in environment


@pytest.mark.parametrize("name", ["local.yaml", "gpu.yaml"])
def test_serve_takes_the_config_and_raysys_its_arguments(name: str) -> None:
    given = yaml_of(f"serve_configs/{name}")
    # Serve passes over keys that it does not know, so a misspelt one would do nothing.
    assert given.keys() <= ServeDeploySchema.model_fields.keys()
    assert given["applications"][0].keys() <= ServeApplicationSchema.model_fields.keys()
    config = ServeDeploySchema.model_validate(given)
    check_listen_address(config.http_options.host, "off")
    assert [each.import_path for each in config.applications] == ["raysys.api.build:build_app"]
    serving_config(f"serve_configs/{name}")


def test_the_cluster_has_room_for_what_gpu_yaml_asks_for(cluster: Any) -> None:
    config = serving_config("serve_configs/gpu.yaml")
    types = cluster["available_node_types"]
    gpus = config.num_encoders * config.gpus_per_encoder
    gpus += config.num_shards * config.num_replicas_per_shard * config.gpus_per_shard
    assert config.gpus_per_encoder > 0
    assert config.gpus_per_shard > 0
    with_gpus = [each for each in types.values() if each["resources"].get("GPU")]
    assert 0 < gpus <= sum(each["max_workers"] * each["resources"]["GPU"] for each in with_gpus)
    gateways = [each for each in types.values() if config.gateway_nodes == each["labels"]]
    assert gateways
    assert all(each["min_workers"] and "GPU" not in each["resources"] for each in gateways)
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}
