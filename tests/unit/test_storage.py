"""A reader sees all of a file or a directory, or nothing."""

import os
from pathlib import Path

import pytest

from raysys import storage


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    storage.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        storage.write_json(file, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        storage.write_text(file, "\ud800")
    assert storage.read_json(file) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings.json"]


def test_nan_is_refused_since_other_readers_would_choke_on_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(tmp_path / "file", {"a": float("nan")})


def test_a_staging_directory_appears_under_its_name_only_when_published(tmp_path: Path) -> None:
    target = tmp_path / "release"
    staging = storage.staging_directory(target)
    (staging / "part").write_text("x")
    assert not target.exists()
    storage.publish_directory(staging, target)
    assert (target / "part").read_text() == "x"
    assert not staging.exists()


def test_a_directory_that_exists_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "release"
    target.mkdir()
    staging = storage.staging_directory(target)
    with pytest.raises(FileExistsError, match="nothing was changed"):
        storage.publish_directory(staging, target)


def test_what_is_published_is_safe_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe: list[tuple[str, bool]] = []  # what is, and whether anything had its name by then
    file, target = tmp_path / "note", tmp_path / "release"
    staging = storage.staging_directory(target)
    (staging / "part").write_text("x")
    known = {"above": tmp_path, "staging": staging, "part": staging / "part"}
    names = {path.stat().st_ino: name for name, path in known.items()}

    def fsync(descriptor: int) -> None:
        what = names.get(os.fstat(descriptor).st_ino, "file")
        safe.append((what, file.exists() or target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    storage.write_text(file, "new")
    assert safe == [("file", False), ("above", True)]
    file.unlink()
    safe.clear()
    storage.publish_directory(staging, target)
    assert safe == [("part", False), ("staging", False), ("above", True)]


def test_leftovers_of_dead_writers_are_removed_and_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    alive = tmp_path / f".release.partial-{os.getpid()}-0000"
    dead = tmp_path / ".release.partial-999999999-0000"
    other = tmp_path / ".other.partial-999999999-0000"
    for directory in (alive, dead, other):
        directory.mkdir()
    storage.remove_leftovers(tmp_path / "release")
    assert alive.exists()
    assert not dead.exists()
    assert other.exists()


def test_a_relative_database_means_the_same_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.absolute_database("sqlite:///state.db") == f"sqlite:///{tmp_path}/state.db"


@pytest.mark.parametrize(
    "url", ["sqlite:////var/state.db", "sqlite:///:memory:", "postgresql://user@host/name"]
)
def test_an_absolute_database_stays_as_it_is(url: str) -> None:
    assert storage.absolute_database(url) == url
