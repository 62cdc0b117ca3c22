"""A dataset is replaced in one step; whoever fails on the way leaves the old one."""

from datetime import UTC, datetime

import pytest

from raysys import storage
from raysys.errors import DatasetError
from raysys.logs.manifest import DatasetManifest, WrittenFile, manifest_path
from raysys.logs.publish import check_destination, new_import_id, publish_import
from tests.unit.logs.manifests import empty_manifest


def staged(destination, content="rows", group="default"):
    """Return a finished import beside `destination`: its staging directory and manifest."""
    staging = storage.staging_directory(destination)
    import_id = new_import_id()
    (staging / import_id).mkdir()
    (staging / import_id / "file").write_text(content)
    return staging, empty_manifest(
        import_id=import_id,
        created_at=datetime.now(UTC),
        dataset_group=group,
        first_occurred_at=datetime.now(UTC),
        last_occurred_at=datetime.now(UTC),
        files={f"{import_id}/file": WrittenFile(num_bytes=len(content), sha256="")},
    )


def read(destination):
    text = manifest_path(destination).read_text()
    return (destination / DatasetManifest.model_validate_json(text).import_id / "file").read_text()


def test_the_first_import_makes_the_dataset_and_leaves_nothing_beside_it(tmp_path):
    staging, manifest = staged(tmp_path / "data")
    publish_import(staging, tmp_path / "data", manifest)
    assert read(tmp_path / "data") == "rows"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_later_import_replaces_the_dataset_and_its_old_files(tmp_path):
    for content in ("old", "new"):
        staging, manifest = staged(tmp_path / "data", content)
        publish_import(staging, tmp_path / "data", manifest)
    assert read(tmp_path / "data") == "new"
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"manifest.json", manifest.import_id}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_import_that_fails_while_publishing_leaves_the_old_dataset_alone(tmp_path, monkeypatch):
    staging, manifest = staged(tmp_path / "data", "old")
    publish_import(staging, tmp_path / "data", manifest)
    staging, later = staged(tmp_path / "data", "new")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_text", fail)
    with pytest.raises(KeyboardInterrupt):
        publish_import(staging, tmp_path / "data", later)
    assert read(tmp_path / "data") == "old"
    assert not (tmp_path / "data" / later.import_id).exists()


def test_what_a_killed_import_left_in_the_dataset_is_removed_by_the_next(tmp_path):
    staging, manifest = staged(tmp_path / "data", "old")
    publish_import(staging, tmp_path / "data", manifest)
    orphan = tmp_path / "data" / new_import_id()
    orphan.mkdir()
    assert read(tmp_path / "data") == "old"
    staging, manifest = staged(tmp_path / "data", "new")
    publish_import(staging, tmp_path / "data", manifest)
    assert read(tmp_path / "data") == "new"
    assert not orphan.exists()


def test_an_empty_directory_may_become_a_dataset(tmp_path):
    (tmp_path / "data").mkdir()
    staging, manifest = staged(tmp_path / "data")
    publish_import(staging, tmp_path / "data", manifest)
    assert read(tmp_path / "data") == "rows"


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json"])
def test_a_directory_that_holds_something_else_is_never_written_to(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text('{"kind": "release"}')
    with pytest.raises(DatasetError, match="data"):
        check_destination(tmp_path / "data", "default")
    staging, manifest = staged(tmp_path / "data")
    with pytest.raises(DatasetError, match="data"):
        publish_import(staging, tmp_path / "data", manifest)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [name]


def test_a_file_is_no_place_for_a_dataset(tmp_path):
    (tmp_path / "data").write_text("text")
    with pytest.raises(DatasetError, match="is a file"):
        check_destination(tmp_path / "data", "default")


def test_a_dataset_is_not_replaced_by_that_of_another_group(tmp_path):
    publish_import(*_args(tmp_path, "films"))
    with pytest.raises(DatasetError, match="group 'films', .* --dataset-group films"):
        check_destination(tmp_path / "data", "shop")
    with pytest.raises(DatasetError, match="group 'films', .* --dataset-group films"):
        publish_import(*_args(tmp_path, "shop"))
    assert read(tmp_path / "data") == "films"
    check_destination(tmp_path / "data", "films")


def _args(tmp_path, group):
    staging, manifest = staged(tmp_path / "data", content=group, group=group)
    return staging, tmp_path / "data", manifest
