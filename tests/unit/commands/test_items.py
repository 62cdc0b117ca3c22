"""`raysys items`: what it writes is what servers follow."""

import json
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.state.store import StateStore


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object], str]:
    """Run a command; return its exit code, its JSON line and what people read."""
    code = main(["items", *arguments, "--json"])
    read = capsys.readouterr()
    return code, json.loads(read.out.splitlines()[-1]), read.err


def test_items_are_hidden_listed_and_shown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    StateStore(url, "default").close()
    code, hidden, said = told(capsys, "hide", "b", "a", "b", "--database", url)
    assert (code, hidden["item_ids"], hidden["delta_version"]) == (0, ["a", "b"], 1)
    assert "2 items are kept from everybody" in said
    _, shown, said = told(capsys, "show", "b", "--database", url)
    assert shown["item_ids"] == ["b"]
    assert "1 item is shown again" in said
    assert told(capsys, "list", "--database", url)[1]["hidden"] == ["a"]
    elsewhere = ("--database", url, "--dataset-group", "other")
    code, nothing, said = told(capsys, "list", *elsewhere)
    assert (code, nothing["hidden"]) == (0, [])
    assert "No item is hidden" in said


def test_a_database_that_nobody_serves_from_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    assert told(capsys, "hide", "a", "--database", url)[0] == 1
    assert not (tmp_path / "state.db").exists()
