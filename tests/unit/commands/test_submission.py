"""In a submitted job, what is written must lie outside of the job's copy of the directory."""

import argparse
import json
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.commands.submission import (
    check_output,
    check_outputs,
    runtime_env_of_job,
    submission_id,
)
from raysys.errors import ConfigError


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what Ray sets for the process of a submitted job."""
    config = {"runtime_env": {}, "metadata": {"job_submission_id": "raysubmit_1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))


def test_a_submitted_job_knows_its_id(submitted: None) -> None:
    assert submission_id() == "raysubmit_1"


def test_a_submitted_job_knows_with_which_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_env_of_job() == {}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"py_executable": "p"}}')
    assert runtime_env_of_job() == {"py_executable": "p"}


@pytest.mark.parametrize("text", [None, "{}", '{"metadata": {}}', "no JSON"])
def test_another_process_has_no_id(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    if text is not None:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", text)
    assert submission_id() is None
    check_output(Path("runs/releases"), "--releases")


@pytest.mark.parametrize(
    ("value", "example"),
    [
        (Path("runs/releases"), "such as /shared/raysys/releases"),
        (Path("../elsewhere"), "such as /shared/raysys/elsewhere"),
        ("sqlite:///runs/state.db", "such as sqlite:////shared/raysys/state.db"),
    ],
)
def test_a_relative_output_of_a_submitted_job_is_refused(
    value: Path | str, example: str, submitted: None
) -> None:
    with pytest.raises(ConfigError, match=example):
        check_output(value, "--name")


@pytest.mark.parametrize(
    "value", [Path("/shared/releases"), "sqlite:////shared/state.db", "postgresql://user@host/name"]
)
def test_what_outlives_the_job_passes(value: Path | str, submitted: None) -> None:
    check_output(value, "--name")


def test_outputs_that_were_not_given_pass_and_others_are_named_by_their_option(
    submitted: None,
) -> None:
    check_outputs(argparse.Namespace(database=None, other=Path("x")), ["database"])
    with pytest.raises(ConfigError, match="--export-to is 'x'"):
        check_outputs(argparse.Namespace(export_to=Path("x")), ["export_to"])


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["import", "--interactions", "log.csv", "--to", "dataset"], "--to is 'dataset'"),
        (["train", "dataset", "--releases", "releases"], "--releases is 'releases'"),
        (["deploy", "--release", "releases", "--database", "postgresql://h/d"], "--release is"),
        (["deploy", "--release", "/releases"], "--database is 'sqlite:///raysys.db'"),
        (["tune", "d", "--releases", "/r", "--search", "s"], "--search is 's'"),
        (["update", "d", "--release", "r", "--releases", "r"], "--releases is 'r'"),
        (["release", "r", "--releases", "r"], "--releases is 'r'"),
        (["export-events", "--database", "sqlite:///s.db", "--to", "/d"], "--database is"),
        (["export-events", "--database", "postgresql://h/d", "--to", "d"], "--to is 'd'"),
    ],
)
def test_every_command_refuses_them_before_it_starts(
    arguments: list[str], option: str, submitted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert line["error"] == "ConfigError"
    assert option in line["message"]
