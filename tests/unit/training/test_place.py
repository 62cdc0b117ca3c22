"""A run's directory, on a disk and behind a URL."""

import os
from pathlib import Path

import fsspec
import pytest

from raysys.errors import ConfigError
from raysys.training.place import Place


@pytest.fixture(params=["path", "file URL", "fsspec URL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    locations = {
        "path": tmp_path / "run",
        "file URL": f"file://{tmp_path}/run",
        "fsspec URL": f"memory://{tmp_path}/run",
    }
    return Place.of(locations[request.param])


def test_a_text_comes_back_and_a_new_one_takes_its_place(place: Place) -> None:
    assert place.read_text("note") is None
    place.write_text("note", "one")
    place.write_text("note", "twö")
    assert place.read_text("note") == "twö"


def test_what_is_removed_is_gone_and_nothing_else(place: Place) -> None:
    place.write_text("kept", "yes")
    place.write_text("note", "no")
    place.below("some").below("where").write_text("note", "no")
    for name in ("note", "some", "nowhere"):
        place.remove(name)
    assert place.read_text("note") is None
    assert place.below("some").below("where").read_text("note") is None
    assert place.read_text("kept") == "yes"


def test_a_directory_travels_there_and_back(place: Place, tmp_path: Path) -> None:
    sent, fetched = tmp_path / "sent", tmp_path / "fetched"
    (sent / "deep").mkdir(parents=True)
    (sent / "model").write_bytes(b"\x00" * 1000)
    (sent / "deep" / "note").write_text("here")
    place.below("model").send(sent)
    fetched.mkdir()
    place.below("model").fetch(fetched)
    assert (fetched / "model").read_bytes() == b"\x00" * 1000
    assert (fetched / "deep" / "note").read_text() == "here"


def test_a_relative_path_is_one_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.of("run").path == f"{tmp_path}/run"
    assert Place.of(Path("run")).path == f"{tmp_path}/run"


def test_what_is_secret_in_a_url_is_never_shown() -> None:
    place = Place.of("s3://key:secret@bucket/runs?region=us-east-1")
    assert place.name == "s3://bucket/runs"
    assert place.path == "bucket/runs"
    with pytest.raises(ConfigError, match="cannot be kept at nosuch://host/runs") as raised:
        Place.of("nosuch://user:secret@host/runs")
    assert "secret" not in str(raised.value)


def test_a_file_is_never_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(tmp_path)
    place.write_text("note", "old")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        place.write_text("note", "new")
    assert place.read_text("note") == "old"
    assert os.listdir(tmp_path) == ["note"]


@pytest.fixture(autouse=True)
def _forget_memory() -> None:
    fsspec.filesystem("memory").store.clear()
