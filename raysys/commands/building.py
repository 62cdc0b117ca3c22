"""From a dataset to a published release: split, train, measure, index, publish."""

import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

import raysys
from raysys import storage, tables
from raysys.commands.console import Advance, Console
from raysys.commands.released_model import embedding_retriever
from raysys.config import EvaluationConfig, PipelineConfig
from raysys.dataset.dataset import Dataset, open_dataset
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held, split
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.baselines import Ease, Popularity, popularity_counts
from raysys.evaluation.evaluate import evaluate
from raysys.evaluation.report import Report
from raysys.evaluation.topk import Retriever
from raysys.index.build import build_partitions
from raysys.index.files import IndexNote
from raysys.models.base import EmbeddingModel
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.release import (
    CONFIG,
    HISTORIES,
    INDEX_DIRECTORY,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    METRICS,
    MODEL_DIRECTORY,
    POPULARITY,
    USER_VOCABULARY,
    Release,
    ReleaseDraft,
    publishing,
)
from raysys.training.checkpoint import EpochResult
from raysys.training.trainer import train_on_ray

_EASE_UP_TO = 5_000  # items; its matrix is inverted in some 10 s there, and in minutes beyond
_LIBRARIES = ("ray", "torch", "faiss-cpu", "faiss-gpu", "pyarrow", "numpy")
_SPLIT_WORDS = {
    "leave_last_out": "leave-last-out",
    "random": "random split",
    "time": "global time split",
}


def build_release(
    dataset_path: Path,
    releases: Path,
    config: PipelineConfig,
    *,
    recipe: str,
    console: Console,
) -> tuple[Release, Report]:
    """Train on the Ray that runs, measure on the test part, and publish.

    Nothing appears in `releases` unless every step went well.
    """
    dataset = open_dataset(dataset_path)
    with publishing(releases) as draft:
        items = Vocabulary.from_ids(dataset.item_ids())
        histories = dataset.histories(items)
        users = Vocabulary.from_ids(histories.user_ids)
        _write_data(draft, dataset, items, users, histories)
        _train(draft, dataset, items, config, console)
        model = load_model(draft.path / MODEL_DIRECTORY, vocabulary=items.hash)
        retriever = embedding_retriever(model, users)
        with console.progress("evaluating") as advance:
            report = measure(retriever, config.model.kind, histories, len(items), config, advance)
        note = _write_index(draft, model, items, users, histories, config)
        storage.write_json(draft.path / CONFIG, config.model_dump(mode="json"))
        storage.write_json(draft.path / METRICS, report.to_json())
        release = draft.publish(
            recipe=recipe,
            model_kind=config.model.kind,
            embedding_dim=note.embedding_dim,
            history_length=config.model.history_length,
            vocabulary=items.hash,
            num_items=len(items),
            num_users=len(users),
            num_partitions=config.index.num_partitions,
            index_factory=config.index.factory,
            watermark=_watermark(histories),
            metrics=report.evaluations[config.model.kind].means(),
            lineage=_lineage(dataset),
        )
    return release, report


def measure(
    retriever: Retriever,
    model_kind: str,
    histories: Histories,
    num_items: int,
    config: PipelineConfig,
    advance: Advance,
) -> Report:
    """Rank the test part with the model and with baselines fitted on the same train part."""
    pieces = split(histories, config.split)
    retrievers: dict[str, Retriever] = {
        model_kind: retriever,
        "popularity": Popularity(popularity_counts(pieces.train, num_items)),
    }
    if num_items <= _EASE_UP_TO:
        retrievers["ease"] = Ease(pieces.train, num_items)
    evaluations = {}
    for done, (name, each) in enumerate(retrievers.items()):
        advance(done, len(retrievers), name)
        evaluations[name] = evaluate(each, pieces.test, config.evaluation.ks)
    advance(len(retrievers), len(retrievers))
    return Report(evaluations, config.evaluation, _SPLIT_WORDS[config.split.kind])


@dataclass(frozen=True)
class MakeValidate:
    """Makes, in a training worker, the function that measures the model on held-out users."""

    evaluation: EvaluationConfig
    users: Path
    """The user vocabulary."""

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        users = Vocabulary.open(self.users)

        def validate(model: EmbeddingModel) -> dict[str, float]:
            retriever = embedding_retriever(model, users)
            return evaluate(retriever, held, [self.evaluation.metric_k]).means()

        return validate


def _write_data(
    draft: ReleaseDraft,
    dataset: Dataset,
    items: Vocabulary,
    users: Vocabulary,
    histories: Histories,
) -> None:
    (draft.path / "vocabulary").mkdir()
    items.save(draft.path / ITEM_VOCABULARY)
    users.save(draft.path / USER_VOCABULARY)
    histories.save(draft.path / HISTORIES)
    np.save(draft.path / POPULARITY, popularity_counts(histories, len(items)))
    table = _item_table(dataset.items(), items)
    with ipc.new_file(str(draft.path / ITEM_TABLE), table.schema) as sink:
        sink.write_table(table)


def _item_table(given: pa.Table | None, items: Vocabulary) -> pa.Table:
    """Return the item table in the order of the item numbers, with nulls where it has none."""
    ids = pa.table({"item_id": items.ids})
    if given is None:
        return ids.append_column("title", pa.nulls(len(items), pa.string()))
    rows = Vocabulary.from_ids(given["item_id"]).numbers(items.ids)
    ordered = given.sort_by("item_id")
    places = pa.array(rows - 1, mask=rows == tables.UNKNOWN_NUM)
    columns = [name for name in ordered.column_names if name != "item_id"]
    for name in columns:
        ids = ids.append_column(name, ordered[name].take(places))
    return ids


def _train(
    draft: ReleaseDraft,
    dataset: Dataset,
    items: Vocabulary,
    config: PipelineConfig,
    console: Console,
) -> None:
    users = draft.path / USER_VOCABULARY
    metric = f"{config.evaluation.metric}_at_{config.evaluation.metric_k}"
    with console.progress("training") as advance:
        advance(0, config.training.max_epochs, "workers start")
        train_on_ray(
            dataset.path,
            draft.path / ITEM_VOCABULARY,
            users,
            config,
            directory=draft.path / MODEL_DIRECTORY,
            make_validate=MakeValidate(config.evaluation, users),
            on_epoch=lambda result: advance(
                result.epoch, config.training.max_epochs, _words_on(result, metric)
            ),
        )


def _words_on(result: EpochResult, metric: str) -> str:
    value = result.metrics.get(metric, float("nan"))
    return f"loss {result.loss:.3f}, {metric} {value:.4f}, {result.examples_per_s:,.0f}/s"


def _write_index(
    draft: ReleaseDraft,
    model: EmbeddingModel,
    items: Vocabulary,
    users: Vocabulary,
    histories: Histories,
    config: PipelineConfig,
) -> IndexNote:
    sample = histories.take(np.arange(min(len(histories), 1000)))
    queries = encode_histories(model, sample, user_nums=users.numbers(sample.user_ids))
    return build_partitions(
        draft.path / INDEX_DIRECTORY,
        encode_catalogue(model),
        items.ids,
        config.index,
        items.hash,
        queries=queries,
    )


def _watermark(histories: Histories) -> datetime | None:
    if not histories.num_interactions:
        return None
    return datetime.fromtimestamp(int(histories.occurred_at_us.max()) / 1e6, UTC)


def _lineage(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "import_id": manifest.import_id,
        "sources": [source.model_dump(mode="json") for source in manifest.sources],
        "rows_accepted": manifest.rows_accepted,
        "versions": {"raysys": raysys.__version__, "python": platform.python_version()}
        | {name: found for name in _LIBRARIES if (found := _version(name)) is not None},
    }


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
