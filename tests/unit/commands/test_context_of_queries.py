"""The context of a query, from a declared column of the log to a request."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raysys.commands.building import build_release
from raysys.commands.console import Console
from raysys.commands.going_on import carried_over, open_update
from raysys.commands.released_model import ReleasedModel
from raysys.config import (
    EvaluationConfig,
    GruConfig,
    IndexConfig,
    ModelConfig,
    PipelineConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.splits import split
from raysys.evaluation.evaluate import evaluate
from raysys.logs.avro import to_avro
from raysys.logs.schema import Field, Kind, Schema, ValueType
from raysys.models.encode import encode_histories
from raysys.release import Release
from raysys.serving.context_codes import ContextCodes
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.exchange import EncodeRequest
from raysys.serving.release_parts import ReleaseParts
from tests.unit.commands.builders import release_trained, release_untrained
from tests.unit.dataset.builders import DeviceRow, write_dataset

USERS = ("kim", "lea", "max", "nils")
DEVICES = ("phone", "tv", None)
ROWS: list[DeviceRow] = [
    (user, "bcdefgh"[(start + step) % 7], 1_000 * step + start, None, DEVICES[(start + step) % 3])
    for start, user in enumerate(USERS)
    for step in range(6)
]
SCHEMA = Schema(
    Kind.INTERACTIONS,
    (
        Field("USER_ID", ValueType.STRING),
        Field("ITEM_ID", ValueType.STRING),
        Field("TIMESTAMP", ValueType.LONG),
        Field("DEVICE", ValueType.STRING, is_nullable=True, is_categorical=True),
    ),
)
MODELS: list[ModelConfig] = [
    GruConfig(hidden_dimension=16, history_length=4),
    TransformerConfig(hidden_dimension=16, history_length=4),
    TwoTowerConfig(embedding_dim=5, temperature=0.5),
]


def dataset(path: Path, *new: DeviceRow, has_schema: bool = True) -> Path:
    rows = sorted([*ROWS, *new], key=lambda row: (row[0], row[2]))
    schemas = {"interactions": to_avro(SCHEMA)} if has_schema else {}
    return write_dataset(path, [rows], schemas=schemas)


def config_of(model: ModelConfig) -> PipelineConfig:
    return PipelineConfig(
        model=model,
        index=IndexConfig(num_partitions=2),
        evaluation=EvaluationConfig(ks=(3,), metric_k=3),
    )


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.kind)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    work = tmp_path_factory.mktemp("context")
    return release_untrained(dataset(work / "old"), work / "releases", config_of(request.param))


def test_a_query_in_a_context_is_encoded_for_serving_as_evaluation_encodes_it(
    release: Release,
) -> None:
    parts, model = ReleaseParts.load(release), ReleasedModel(release)
    codes_of = ContextCodes(parts.context)
    histories = model.histories.take([0, 0, 1, 2]).last(parts.history_length)
    codes = [codes_of.of(each) for each in ({}, {"device": "tv"}, {"DEVICE": "phone"}, {})]
    request = EncodeRequest(
        release.name,
        histories.user_ids.to_pylist(),
        histories.offsets,
        histories.item_nums,
        histories.occurred_at_us,
        np.zeros(histories.num_interactions, np.int16),
        np.array(codes, np.int64),
    )
    found = ReleaseEncoder.load(release).encode(request)
    asked = replace(histories, asked_in=np.array(codes, np.int64))
    user_nums = model.users.numbers(histories.user_ids)
    assert np.array_equal(found, encode_histories(model.model, asked, user_nums=user_nums))
    plain = encode_histories(model.model, histories, user_nums=user_nums)
    assert np.array_equal(found[[0, 3]], plain[[0, 3]])
    assert not np.allclose(found[0], found[1])


def test_the_text_of_a_request_is_the_value_of_the_log(release: Release) -> None:
    parts = ReleaseParts.load(release)
    codes_of = ContextCodes(parts.context)
    assert parts.histories.contexts is not None
    expected = [codes_of.of({} if row[4] is None else {"device": row[4]}) for row in ROWS]
    assert parts.histories.contexts.tolist() == expected
    assert codes_of.of({"device": "tv"}) == codes_of.of({"device": "tv"}) == 2
    assert codes_of.of({"device": "watch"}) == codes_of.of({"weather": "rain"}) == 0


def test_evaluation_asks_in_the_context_of_what_is_to_be_found(release: Release) -> None:
    model = ReleasedModel(release)
    parts = split(model.histories, release.settings().split)
    relevant = parts.test.relevant
    assert relevant.contexts is not None
    asked = replace(parts.test.histories, asked_in=relevant.contexts)
    seen = asked.newest_distinct(100)
    top = model.retriever.top_k(asked.inputs(), 3, excluded=seen)
    hits = (top.item_nums == relevant.item_nums[:, None]).any(axis=1)
    found = evaluate(model.retriever, parts.test, [3]).values["hit_rate_at_3"]
    assert found.tolist() == hits.tolist()
    unaware = model.retriever.top_k(parts.test.histories.inputs(), 3, excluded=seen)
    assert not np.array_equal(unaware.scores, top.scores)


def test_an_update_keeps_the_categories_and_what_is_new_is_unknown(
    release: Release, tmp_path: Path
) -> None:
    if release.manifest.model_kind == "two_tower":
        pytest.skip("the same, and a temperature of its own")
    new: DeviceRow = ("kim", "b", 9_000, None, "watch")
    update = open_update(release, dataset(tmp_path / "both", new))
    made, _ = build_release(
        update.material,
        tmp_path / "releases",
        update.config,
        recipe="custom",
        write_model=carried_over(update),
        console=Console(as_json=True),
    )
    assert ReleaseParts.load(made).context == ReleaseParts.load(release).context
    model = ReleasedModel(made).model
    before = ReleasedModel(release).model.state_dict()["context.columns.0.weight"]
    assert np.array_equal(model.state_dict()["context.columns.0.weight"], before)
    of_kim = update.material.histories.take([0]).contexts
    assert of_kim is not None
    assert of_kim[-1] == 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.kind)
def test_the_whole_way_of_training_reads_the_context(model: ModelConfig, tmp_path: Path) -> None:
    config = config_of(model)
    training = config.training.model_copy(update={"max_epochs": 1, "batch_size": 4})
    config = config.model_copy(update={"training": training})
    release = release_trained(dataset(tmp_path / "log"), tmp_path / "releases", config)
    table = ReleasedModel(release).model.state_dict()["context.columns.0.weight"]
    assert table.any(dim=1).all()  # those that are missing are a category too


@pytest.mark.parametrize(
    ("model", "has_schema"), [(GruConfig(context=False), True), (GruConfig(), False)]
)
def test_without_declared_columns_or_the_wish_there_is_no_context(
    model: GruConfig, has_schema: bool, tmp_path: Path
) -> None:
    log = dataset(tmp_path / "log", has_schema=has_schema)
    release = release_untrained(log, tmp_path / "releases", config_of(model))
    parts = ReleaseParts.load(release)
    assert parts.context == NO_CONTEXT
    assert parts.histories.contexts is None
