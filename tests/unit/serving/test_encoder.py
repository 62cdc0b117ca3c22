"""The query encoder encodes as evaluation does, and the parts of a release fit together."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.random_release import publish_random_release
from raysys.config import GruConfig, TransformerConfig
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.errors import DamagedReleaseError, ReleaseMismatchError
from raysys.models.encode import encode_histories
from raysys.models.weights import load_model
from raysys.release import Release, publishing
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.exchange import EncodeRequest
from raysys.serving.release_parts import ReleaseParts


@pytest.fixture(
    scope="module",
    params=[
        GruConfig(hidden_dimension=20, history_length=6, time_gaps=True),
        TransformerConfig(hidden_dimension=20, history_length=6, time_gaps=True),
    ],
    ids=lambda model: model.kind,
)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return publish_random_release(
        tmp_path_factory.mktemp("releases"),
        num_items=40,
        num_users=12,
        mean_length=9,
        model=request.param,
        event_types=EventTypes(names=("view", "buy")),
    )


def test_a_query_is_encoded_bit_for_bit_as_evaluation_encodes_it(release: Release) -> None:
    parts = ReleaseParts.load(release)
    model = load_model(release.path / "model", vocabulary=parts.items.hash)
    expected = encode_histories(model, parts.histories)
    encoder = ReleaseEncoder.load(release)
    for rows in ([0], [5, 1, 7], list(range(12))):
        histories = parts.histories.take(rows).last(parts.history_length)
        assert np.array_equal(encoder.encode(asked(release, histories)), expected[rows])


def asked(release: Release, histories: Histories) -> EncodeRequest:
    assert histories.event_types is not None
    return EncodeRequest(
        release.name,
        histories.user_ids.to_pylist(),
        histories.offsets,
        histories.item_nums,
        histories.occurred_at_us,
        histories.event_types,
        np.zeros(len(histories), np.int64),
    )


def encoded(release: Release, encoder: ReleaseEncoder) -> np.ndarray:
    histories = ReleaseParts.load(release).histories
    return encoder.encode(asked(release, histories))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_torch_cannot_use_leaves_the_work_to_the_cpu_and_a_warning(
    release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="raysys.serving"):
        encoder = ReleaseEncoder.load(release, wants_gpu=True)
    assert [record.getMessage() for record in caplog.records if "nvidia-smi" in record.getMessage()]
    expected = encoded(release, ReleaseEncoder.load(release))
    assert np.array_equal(encoded(release, encoder), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_encodes_what_the_cpu_encodes_but_for_the_last_bits(release: Release) -> None:
    on_gpu = encoded(release, ReleaseEncoder.load(release, wants_gpu=True))
    on_cpu = encoded(release, ReleaseEncoder.load(release))
    assert np.abs(on_cpu).max() > 0.01
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5)


def test_parts_of_a_release_fit_together(release: Release) -> None:
    parts = ReleaseParts.load(release)
    assert (len(parts.items), len(parts.histories)) == (40, 12)
    assert sorted(parts.popular.tolist()) == list(range(1, 41))
    assert (parts.name, parts.num_partitions, parts.history_length) == (release.name, 4, 6)


@pytest.mark.parametrize("name", ["vocabulary/items.arrow", "histories.arrow", "popularity.npy"])
def test_an_altered_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    release = publish_random_release(
        tmp_path, num_items=20, num_users=3, mean_length=2, model=GruConfig(hidden_dimension=8)
    )
    path = release.file(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedReleaseError, match=name):
        ReleaseParts.load(release)


def published_again(
    release: Release, releases: Path, change: Callable[[Path], None], **fields: Any
) -> Release:
    """Publish the files of a release once more, after a change that its hashes then cover."""
    with publishing(releases) as draft:
        shutil.copytree(release.path, draft.path, dirs_exist_ok=True)
        (draft.path / "manifest.json").unlink()
        change(draft.path)
        of_draft = {"format_version", "name", "created_at", "files"}
        return draft.publish(**{**release.manifest.model_dump(exclude=of_draft), **fields})


def test_item_numbers_of_another_vocabulary_are_refused(release: Release, tmp_path: Path) -> None:
    other = published_again(release, tmp_path, lambda path: None, vocabulary="0" * 64)
    with pytest.raises(ReleaseMismatchError, match="its item vocabulary was built for"):
        ReleaseParts.load(other)


def test_histories_of_another_vocabulary_are_refused(release: Release, tmp_path: Path) -> None:
    other = publish_random_release(
        tmp_path / "other", num_items=41, num_users=3, mean_length=2, model=GruConfig()
    )

    def mix(path: Path) -> None:
        shutil.copy(other.file("histories.arrow"), path / "histories.arrow")

    mixed = published_again(release, tmp_path, mix)
    with pytest.raises(ReleaseMismatchError, match="its histories file was built for"):
        ReleaseParts.load(mixed)


def test_counts_of_another_number_of_items_are_refused(release: Release, tmp_path: Path) -> None:
    def cut(path: Path) -> None:
        np.save(path / "popularity.npy", np.zeros(40, dtype=np.int64))

    with pytest.raises(DamagedReleaseError, match="of 39 items, but knows 40"):
        ReleaseParts.load(published_again(release, tmp_path, cut))
