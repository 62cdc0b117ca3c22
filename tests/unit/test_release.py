"""A release is whole or refused by name."""

import json
from pathlib import Path

import pytest

from raysys.errors import DamagedReleaseError, ReleaseMismatchError, ReleaseNotFoundError
from raysys.release import Release, list_releases, open_release, publishing
from tests.unit.releases import published


def publish(releases: Path, text: str = "weights", vocabulary: str = "v1") -> Release:
    with publishing(releases) as draft:
        (draft.path / "model").mkdir()
        (draft.path / "model" / "weights").write_text(text)
        (draft.path / "config.json").write_text("{}")
        return published(draft, vocabulary=vocabulary, metrics={"ndcg_at_10": 0.5})


def test_a_published_release_opens_by_path_and_as_the_newest(tmp_path: Path) -> None:
    first = publish(tmp_path, "one")
    second = publish(tmp_path, "two")
    newest = max(first.name, second.name)
    assert open_release(first.path).manifest == first.manifest
    assert open_release(tmp_path).name == newest
    assert list_releases(tmp_path) == sorted([first.name, second.name])
    open_release(tmp_path).verify()
    assert open_release(first.path).read_json("config.json") == {}


def test_a_draft_that_fails_or_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publishing(tmp_path) as draft:
        (draft.path / "no such folder" / "half").write_text("x")
    with publishing(tmp_path) as draft:
        (draft.path / "half").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_place_without_releases_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFoundError, match="raysys train"):
        open_release(tmp_path)


def test_an_altered_file_is_refused_by_name(tmp_path: Path) -> None:
    release = publish(tmp_path)
    (release.path / "model" / "weights").write_text("weightz")
    opened = open_release(release.path)
    opened.verify("config.json")
    with pytest.raises(DamagedReleaseError, match=rf"{release.name} is damaged: model/weights has"):
        opened.verify()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    release = publish(tmp_path)
    (release.path / "model" / "weights").unlink()
    with pytest.raises(DamagedReleaseError, match="model/weights is missing"):
        open_release(release.path).verify()


def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
    one, two = publish(tmp_path, "one"), publish(tmp_path, "two")
    (two.path / "model" / "weights").replace(one.path / "model" / "weights")
    with pytest.raises(DamagedReleaseError, match="comes from another release"):
        open_release(one.path).verify()


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest.update(num_items=4),
        lambda manifest: manifest["files"].pop("config.json"),
        lambda manifest: manifest.update(format_version=99),
        lambda manifest: manifest.pop("vocabulary"),
        lambda manifest: manifest.update(extra=1),
    ],
    ids=["count", "file list", "format", "missing", "unknown"],
)
def test_an_altered_manifest_is_refused(tmp_path: Path, edit) -> None:
    release = publish(tmp_path)
    path = release.path / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedReleaseError, match=release.name):
        open_release(release.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_manifest_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    release = publish(tmp_path)
    (release.path / "manifest.json").write_text(text)
    with pytest.raises(DamagedReleaseError, match=release.name):
        open_release(release.path)


def test_a_part_built_for_another_vocabulary_is_refused(tmp_path: Path) -> None:
    release = publish(tmp_path, vocabulary="a" * 64)
    release.check_vocabulary("index", "a" * 64)
    with pytest.raises(ReleaseMismatchError, match=r"its index was built for item vocabulary bbbb"):
        release.check_vocabulary("index", "b" * 64)


def test_a_release_is_of_its_dataset_s_group_and_refused_for_another(tmp_path: Path) -> None:
    release = publish(tmp_path)  # its lineage names no group
    release.check_dataset_group(None)
    release.check_dataset_group("default")
    with pytest.raises(ReleaseMismatchError, match="group 'default', but 'films' was asked for"):
        release.check_dataset_group("films")
