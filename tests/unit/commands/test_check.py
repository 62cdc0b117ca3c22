"""`raysys check` without Ray: what is shown, what the JSON line says, and the exit codes."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.commands import check
from raysys.logs.call import run_here
from tests.unit.dataset.builders import write_dataset

SECOND = 1_000_000


@pytest.fixture(autouse=True)
def _run_calls_here(monkeypatch):
    monkeypatch.setattr(check, "run_calls", run_here)
    monkeypatch.setattr(check, "ray_cluster", lambda *_, **__: nullcontext())


def dataset(path: Path, users: int) -> Path:
    """Each user has 50 interactions, one a second, with 100 items in turn."""
    rows = [
        (f"u{user:04}", f"i{(user + n) % 100}", (1_700_000_000 + n) * SECOND)
        for user in range(users)
        for n in range(50)
    ]
    return write_dataset(path, [rows])


def checked(capsys, *arguments):
    code = main(["check", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def test_a_good_dataset_passes_with_0(tmp_path, capsys):
    code, line, shown = checked(capsys, dataset(tmp_path / "data", 1000), "--strict")
    assert (code, line["exit_code"], line["verdict"], line["ok"]) == (0, 0, "PASS", True)
    assert {one["verdict"] for one in line["checks"]} == {"PASS"}
    assert line["statistics"]["interactions"] == 50_000
    assert "PASS  interactions" in shown
    assert "PASS: 0 FAIL, 0 WARN," in shown


def test_warnings_are_0_unless_they_are_to_count(tmp_path, capsys):
    path = dataset(tmp_path / "data", 40)
    code, line, shown = checked(capsys, path)
    assert (code, line["verdict"]) == (0, "WARN")
    assert "Import more of the log" in shown
    code, line, _ = checked(capsys, path, "--strict")
    assert (code, line["exit_code"], line["verdict"]) == (3, 3, "WARN")


def test_a_failure_is_3_and_what_cannot_be_checked_is_1(tmp_path, capsys):
    code, line, _ = checked(capsys, dataset(tmp_path / "data", 10))
    assert (code, line["verdict"], line["ok"]) == (3, "FAIL", True)
    (few,) = [one for one in line["checks"] if one["check"] == "interactions"]
    assert few["found"] == "500 interactions"
    code, line, _ = checked(capsys, tmp_path / "nothing")
    assert (code, line["error"]) == (1, "DatasetError")
    code, line, _ = checked(capsys, tmp_path / "data", "--dataset-group", "other")
    assert (code, line["error"]) == (1, "DatasetError")


def test_ids_that_look_like_markup_are_shown_as_they_are(tmp_path, capsys):
    path = write_dataset(tmp_path / "data", [[("[bold]u[/bold]", "[/]", 1), ("v", "w", 2)]])
    _, _, shown = checked(capsys, path)
    assert "'[/]'" in shown
    assert "'[bold]u[/bold]'" in shown


def test_the_page_is_written_beside_the_json_line(tmp_path, capsys):
    page = tmp_path / "report.html"
    code, line, shown = checked(capsys, dataset(tmp_path / "data", 40), "--html", page)
    assert (code, line["html"]) == (0, str(page))
    assert f"with plots: {page}" in shown
    assert "<h1>data</h1>" in page.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "report.html"}


def test_a_page_that_cannot_be_written_is_told_before_the_dataset_is_read(
    tmp_path, capsys, monkeypatch
):
    for path, words in (
        (tmp_path, "is a directory"),
        (tmp_path / "nowhere/report.html", "a directory that does not exist"),
    ):
        code, line, _ = checked(capsys, tmp_path / "no-dataset", "--html", path)
        assert (code, line["error"]) == (1, "ConfigError")
        assert words in line["message"]
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    _, line, _ = checked(capsys, tmp_path / "no-dataset", "--html", tmp_path / "report.html")
    assert "pip install 'raysys[report]'" in line["message"]
