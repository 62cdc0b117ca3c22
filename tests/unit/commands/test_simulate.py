"""`raysys simulate` without a cluster: what is asked for is what is written and told."""

import contextlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.cli import main
from raysys.commands import simulate
from raysys.logs.call import run_here
from raysys.logs.simulator import Simulator


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(simulate, "run_calls", run_here)


def told(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_world_of_the_size_asked_for_is_written(tmp_path: Path, capsys) -> None:
    to = tmp_path / "log"
    arguments = ["--users", "60", "--items", "80", "--mean-history", "20", "--seed", "3"]
    assert main(["simulate", "--to", str(to), *arguments, "--json"]) == 0
    line = told(capsys)
    world = Simulator(num_users=60, num_items=80, mean_history=20, seed=3)
    assert Simulator.of_log(to).settings() == world.settings()
    assert line["interactions"] == str(to / "interactions.csv")
    assert line["rows"] == next(world.interactions()).num_rows
    assert (line["users"], line["items"], line["files"]) == (60, 80, 1)
    assert line["bytes"] == sum(path.stat().st_size for path in to.iterdir())


def test_rows_are_asked_for_and_parquet_is_written(tmp_path: Path, capsys) -> None:
    to = tmp_path / "log"
    arguments = ["--world", "new-like-old", "--rows", "100000", "--format", "parquet"]
    assert main(["simulate", "--to", str(to), *arguments, "--json"]) == 0
    line = told(capsys)
    assert line["rows"] == pytest.approx(100_000, rel=0.05)
    assert pq.read_metadata(line["interactions"]).num_rows == line["rows"]


def test_what_is_no_simulated_log_is_not_replaced(tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.tex").touch()
    assert main(["simulate", "--to", str(tmp_path), "--json"]) == 1
    assert told(capsys)["error"] == "DatasetError"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--world", "mars"], "there are demo, new-like-old"),
        (["--rows", "0"], "at least 1 row"),
        (["--users", "0"], "num_users"),
        (["--files", "0"], "number of files"),
        (["--seed", "-1"], "seed of a world"),
    ],
)
def test_a_world_that_cannot_be_is_refused(
    tmp_path: Path, capsys, arguments: list[str], named: str
) -> None:
    assert main(["simulate", "--to", str(tmp_path / "log"), *arguments, "--json"]) == 1
    line = told(capsys)
    assert line["error"] == "ConfigError"
    assert named in line["message"]
    assert list(tmp_path.iterdir()) == []
