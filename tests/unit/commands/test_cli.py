"""The `raysys` command: exit codes, the JSON line, and errors fit for people."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import raysys
from raysys.cli import main
from raysys.commands.arguments import COMMANDS

TUNE = ["tune", "d", "--releases", "r", "--search", "s"]
JOBS = sorted(Path(raysys.__file__).parents[1].glob("jobs/*.py"))
IMPORT = ["import", "--interactions", "l.csv", "--to", "d"]


def json_line(output: str) -> dict:
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_takes_json(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    assert "--json" in help_text
    assert COMMANDS[command].summary in " ".join(help_text.split())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["train"],
        ["import", "--to", "x"],
        ["import", "--movielens-100k", "--interactions", "log.csv", "--to", "x"],
    ],
)
def test_misuse_exits_with_2_and_says_how_to_use_it(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: raysys" in capsys.readouterr().err


def test_what_cannot_be_done_exits_with_1_and_is_the_json_line_too(tmp_path: Path, capsys) -> None:
    release = tmp_path / "nothing"
    assert main(["recommend", "--release", str(release), "--user", "1", "--json"]) == 1
    captured = capsys.readouterr()
    line = json_line(captured.out)
    assert line["ok"] is False
    assert line["error"] == "ReleaseNotFoundError"
    assert "There is no release at" in line["message"]
    assert "There is no release at" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "d", "--releases", "r", "--recipe", "aws-sims"], "no recipe 'aws-sims'"),
        (["train", "d", "--releases", "r", "--set", "bptt=64"], r"bptt .* must lie in \[2, 32\]"),
        (["train", "d", "--releases", "r", "--set", "bptt"], "--set takes NAME=VALUE"),
        (["train", "d", "--releases", "r", "--workers", "0"], "--workers takes how many"),
        ([*TUNE, "--space", "bptt=2:64"], r"cannot take '64'.* \[2, 32\]"),
        ([*TUNE, "--space", "dropout=0.1:0.5"], "does not let 'dropout' be tuned"),
        ([*TUNE, "--trials", "0"], "--trials must be at least 1"),
        ([*TUNE, "--parallel", "0"], "--parallel must be at least 1"),
        (["serve"], "needs --release"),
        (
            ["import", "--movielens-100k", "--items", "i.csv", "--to", "d"],
            "brings its own --items",
        ),
        (["import", "--movielens", "no-ml", "--to", "d"], "no-ml is not a directory"),
        (["import", "--query", "select 1", "--to", "d"], "give --sql URL as well"),
        (
            ["import", "--query", "select 1", "--sql", "sqlite:///no.db", "--to", "d"],
            "there is no file .*no.db",
        ),
        (
            [*IMPORT, "--items", "i.csv", "--items-query", "select 1", "--sql", "sqlite://"],
            "--items or --items-query, not both",
        ),
        (["train", "no-dataset", "--releases", "r"], "no-dataset"),
        (["recommend", "--release", "r", "--user", "1", "--num", "501"], r"\[1, 500\]"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: list[str], message: str, capsys
) -> None:
    assert main([*arguments, "--json"]) == 1
    assert re.search(message, json_line(capsys.readouterr().out)["message"])


def test_help_loads_neither_ray_nor_torch() -> None:
    program = f"""
import sys
from raysys.cli import main
for command in [[], *([name] for name in {list(COMMANDS)!r})]:
    try:
        main([*command, "--help"])
    except SystemExit:
        pass
assert "ray" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.PIPE)


def test_the_version_is_that_of_the_package(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"raysys {raysys.__version__}\n"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_every_job_is_a_command_by_another_door(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", [str(job), "--help"])
    monkeypatch.syspath_prepend(str(job.parent))  # as `python jobs/x.py` has it
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(job), run_name="__main__")
    assert stopped.value.code == 0
    command = "import" if job.stem == "import_log" else job.stem.replace("_", "-")
    assert capsys.readouterr().out.startswith(f"usage: raysys {command} ")


def test_a_job_runs_as_a_program_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, str(JOBS[0]), "--help"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("usage: raysys ")
