"""A release out of a dataset and a model, wherever the model comes from: train, measure, publish.

Three kinds of work that do not know each other: `Material` is what a release holds apart from its
model, a `WriteModel` puts the model there (trains it now, or brings one that exists), and
`build_release` measures, indexes and publishes what both have left. `reindexed` makes a release
from another one.
"""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import raysys
from raysys import storage
from raysys.commands.console import Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.material import Material
from raysys.commands.measuring import MakeValidate, measure
from raysys.commands.released_model import embedding_retriever
from raysys.commands.training_progress import training_shown
from raysys.config import IndexConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table
from raysys.dataset.popularity import best_first
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.report import Report
from raysys.index.build import build_partitions
from raysys.index.cold_start import fit_cold_start
from raysys.index.files import IndexNote
from raysys.index.new_items import ItemTower
from raysys.logs.calls import runner
from raysys.models.base import EmbeddingModel
from raysys.models.counted import Counted
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model, save_model
from raysys.release import (
    CONFIG,
    HISTORIES,
    INDEX_DIRECTORY,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    METRICS,
    MODEL_DIRECTORY,
    POPULARITY,
    RANKING,
    USER_VOCABULARY,
    Release,
    publishing,
)
from raysys.training.counting import recount
from raysys.training.place import Place
from raysys.training.run_files import RunFiles
from raysys.training.trainer import train_on_ray
from raysys.training.warm_start import WarmStart

_CHECKPOINTS = "checkpoints"
_LIBRARIES = ("ray", "torch", "faiss-cpu", "faiss-gpu", "pyarrow", "numpy")

_MOST_QUERIES = 1_000  # by which an index is tuned and measured

WriteModel = Callable[[Material, Path], None]
"""Writes `MODEL_DIRECTORY` below a draft that holds all files of the material."""


def training_now(
    config: PipelineConfig,
    console: Console,
    *,
    warm_start: WarmStart | None = None,
    checkpoints: Path | str | None = None,
    tensorboard: Path | None = None,
) -> WriteModel:
    """Return what trains a model on the Ray that runs, with a bar of its epochs.

    Args:
        checkpoints: a path or URL where they are kept until the model is written, so that a
            training that was stopped goes on from there. None: in the draft.
        tensorboard: see `training_shown`.
    """

    def write(material: Material, draft: Path) -> None:
        users, features = draft / USER_VOCABULARY, draft / "features"
        if warm_start is None:  # else the model that it begins with knows its features
            feature_tables(material, config.model).save(features)
        kept = _checkpoints_at(checkpoints, draft)
        with kept as place, training_shown(console, config, tensorboard) as shown:
            train_on_ray(
                material.dataset.path,
                draft / ITEM_VOCABULARY,
                users,
                config,
                directory=draft / MODEL_DIRECTORY,
                storage=place,
                event_types=material.event_types,
                context=material.context,
                features=features,
                make_validate=MakeValidate(config.evaluation, users),
                warm_start=warm_start,
                on_epoch=shown.on_epoch,
                on_step=shown.on_step,
                on_refit=shown.on_refit,
            )
        storage.remove_tree(features)  # the model has its own

    return write


@contextmanager
def _checkpoints_at(asked: Path | str | None, draft: Path) -> Iterator[str | Path]:
    """Give the place for checkpoints; they leave it when the block has gone well."""
    if asked is not None:
        yield asked
        RunFiles(Place.of(asked)).remove()
        return
    yield draft / _CHECKPOINTS
    storage.remove_tree(draft / _CHECKPOINTS)


def trained_before(directory: Path) -> WriteModel:
    """Return what brings the model that `models.weights.save_model` left in a directory."""

    def write(material: Material, draft: Path) -> None:
        shutil.copytree(directory, draft / MODEL_DIRECTORY)

    return write


def build_release(
    material: Material,
    releases: Path,
    config: PipelineConfig,
    *,
    recipe: str,
    write_model: WriteModel,
    console: Console,
    lineage: Mapping[str, Any] | None = None,
) -> tuple[Release, Report]:
    """Put a model to the material, measure it on the test part, index its items, and publish.

    Nothing appears in `releases` unless every step went well.

    Args:
        lineage: what is to be known of the model's origin beside the dataset and the versions.
    """
    items, users = material.items, material.users
    with publishing(releases) as draft:
        material.write(draft.path)
        write_model(material, draft.path)
        model = load_model(draft.path / MODEL_DIRECTORY, vocabulary=items.hash)
        retriever_for = partial(embedding_retriever, model, users)
        kind = config.model.kind
        with console.progress("evaluating") as advance:
            report = measure(retriever_for, kind, material.histories, len(items), config, advance)
        if isinstance(model, Counted):  # now that it is measured, what was held back counts too
            recount(model, material.histories.blocks)
            directory = draft.path / MODEL_DIRECTORY
            save_model(model, directory, num_users=len(users), vocabulary=items.hash)
        vectors = encode_catalogue(model)
        if isinstance(model, Counted):
            np.save(draft.path / RANKING, best_first(np.append(0, vectors[:, 0])))
        note = _write_index(draft.path, model, vectors, config.index)
        _write_cold_start(draft.path, model, vectors)
        storage.write_json(draft.path / CONFIG, config.model_dump(mode="json"))
        storage.write_json(draft.path / METRICS, report.to_json())
        release = draft.publish(
            recipe=recipe,
            model_kind=kind,
            embedding_dim=note.embedding_dim,
            history_length=config.model.history_length,
            vocabulary=items.hash,
            num_items=len(items),
            num_users=len(users),
            num_partitions=note.num_partitions,
            index_factory=note.factory,
            watermark=material.watermark,
            metrics=report.evaluations[kind].means(),
            lineage={**material.lineage(), **(lineage or {}), "versions": _versions()},
        )
    return release, report


def reindexed(release: Release, releases: Path, index: IndexConfig) -> Release:
    """Publish the same model, data and metrics with another index, and return the new release.

    The metrics stay: they were measured by exact search.

    Raises:
        DamagedReleaseError: a file of `release` is not the one that was published.
        ConfigError: FAISS cannot build such an index from these vectors, or it finds too little.
    """
    release.verify()
    manifest = release.manifest
    model = load_model(release.path / MODEL_DIRECTORY, vocabulary=manifest.vocabulary)
    config = release.settings().model_copy(update={"index": index})
    with publishing(releases) as draft:
        for name in manifest.files:
            if name.split("/")[0] != INDEX_DIRECTORY:
                (draft.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(release.path / name, draft.path / name)
        note = _write_index(draft.path, model, encode_catalogue(model), index)
        storage.write_json(draft.path / CONFIG, config.model_dump(mode="json"))
        changed = {
            "num_partitions": note.num_partitions,
            "index_factory": note.factory,
            "lineage": manifest.lineage
            | {
                "reindexed_from": release.name,
                "trained_at": release.trained_at.isoformat(),
                "versions": _versions(),
            },
        }
        given_by_publish = {"format_version", "name", "created_at", "files"}
        fields = {name: getattr(manifest, name) for name in type(manifest).model_fields}
        kept = {name: value for name, value in fields.items() if name not in given_by_publish}
        return draft.publish(**kept | changed)


def _write_index(
    draft: Path, model: EmbeddingModel, vectors: NDArray[np.float32], index: IndexConfig
) -> IndexNote:
    """Write everything below `INDEX_DIRECTORY`, from the model and the other files of a draft.

    Args:
        vectors: (N, D) of the model's catalogue.
    """
    items = Vocabulary.open(draft / ITEM_VOCABULARY)
    users = Vocabulary.open(draft / USER_VOCABULARY)
    histories = Histories.open(draft / HISTORIES)
    sample = histories.take(np.arange(0, len(histories), _every(len(histories)))).inputs()
    user_nums = users.numbers(sample.user_ids, num_buckets=model.num_user_buckets)
    queries = encode_histories(model, sample, user_nums=user_nums)
    return build_partitions(
        draft / INDEX_DIRECTORY,
        vectors,
        items.ids,
        index,
        items.hash,
        queries=queries,
        run=runner(),
    )


def _every(num_histories: int) -> int:
    """Return the step that picks at most `_MOST_QUERIES` of them evenly."""
    return max(1, -(-num_histories // _MOST_QUERIES))


def _write_cold_start(draft: Path, model: EmbeddingModel, vectors: NDArray[np.float32]) -> None:
    """Write where items lie that nobody has interacted with: the model knows, or it is learnt."""
    projection = model.projection_of_items()
    if projection is not None:
        ItemTower(projection.encoder, projection.layers).save(draft)
        return
    table = open_item_table(draft / ITEM_TABLE)
    counts = np.load(draft / POPULARITY)[1:]
    fit_cold_start(vectors, table, counts).save(draft)


def _versions() -> dict[str, str]:
    """Return the versions of what builds a release here and now."""
    found = {name: _version(name) for name in _LIBRARIES}
    own = {"raysys": raysys.__version__, "python": platform.python_version()}
    return own | {name: version for name, version in found.items() if version is not None}


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
