"""What the documents tell people to type exists."""

import re
from pathlib import Path

import pytest

from raysys.commands.arguments import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _code(document: Path) -> str:
    """Return the code blocks and the inline code of a document, line by line."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return "\n".join([*blocks, *inline])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", _code(document)))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"(?:^|[\s/])raysys ([a-z][a-z-]*)", _code(document)))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_job_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\b(jobs/[a-z_]+\.py)", _code(document)))
    assert {job for job in named if not (ROOT / job).is_file()} == set()


def test_every_job_is_a_door_to_a_command_of_its_own() -> None:
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    words = [
        re.findall(r'main\(\["([a-z-]+)", \*sys\.argv\[1:\]\]\)', job.read_text()) for job in jobs
    ]
    assert all(len(word) == 1 for word in words)
    named = [word[0] for word in words]
    assert len(set(named)) == len(named)
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_linked_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []
