"""What is fetched is checked and cached; failures are explained. The index is a stand-in."""

import hashlib
import subprocess
import zipfile

import pytest

from raysys.errors import SourceError
from raysys.logs import movielens
from raysys.logs.movielens import fetch_movielens_100k

CONTENT = {"ml-100k.inter": b"interactions", "ml-100k.item": b"items", "ml-100k.user": b"users"}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Make `pip download` copy a small wheel; return the list of its calls."""
    wheel = tmp_path / "index.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"recbole/dataset_example/ml-100k/{name}", content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(movielens, "_SHA256", hashes)
    wheel_hash = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(movielens, "_WHEEL_SHA256", wheel_hash)
    calls = []

    def download(command, **_):
        calls.append(command)
        target = command[command.index("--dest") + 1]
        with open(f"{target}/recbole-1.2.1-py3-none-any.whl", "wb") as file:
            file.write(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    return calls


def test_the_files_are_extracted_once_and_then_cached(index, tmp_path):
    files = fetch_movielens_100k(tmp_path / "cache")
    assert files.interactions.read_bytes() == b"interactions"
    assert (files.items.read_bytes(), files.users.read_bytes()) == (b"items", b"users")
    assert fetch_movielens_100k(tmp_path / "cache") == files
    assert len(index) == 1
    assert "recbole==1.2.1" in index[0]
    assert "--no-deps" in index[0]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["ml-100k"]


def test_a_damaged_cache_is_fetched_again(index, tmp_path):
    files = fetch_movielens_100k(tmp_path / "cache")
    files.items.write_bytes(b"other")
    assert fetch_movielens_100k(tmp_path / "cache").items.read_bytes() == b"items"
    assert len(index) == 2


@pytest.mark.parametrize("hashed", ["_WHEEL_SHA256", "_SHA256"])
def test_bytes_that_are_not_the_known_ones_are_refused(index, tmp_path, monkeypatch, hashed):
    wrong = "0" * 64 if hashed == "_WHEEL_SHA256" else dict.fromkeys(CONTENT, "0" * 64)
    monkeypatch.setattr(movielens, hashed, wrong)
    with pytest.raises(SourceError, match="expected|not the known file"):
        fetch_movielens_100k(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_index_that_cannot_be_reached_is_a_source_error(tmp_path, monkeypatch):
    def fail(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "retrying\nERROR: No matching one\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SourceError, match="No matching one.*reachable"):
        fetch_movielens_100k(tmp_path / "cache")

    def hang(command, **_):
        raise subprocess.TimeoutExpired(command, 300)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(SourceError, match="did not end within 300 s"):
        fetch_movielens_100k(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
