"""A release whose queries are items: trained, measured, asked for items, served, updated."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys import tables
from raysys.cli import main
from raysys.commands.going_on import carried_over, open_update
from raysys.commands.released_model import ReleasedModel
from raysys.config import (
    EvaluationConfig,
    GruConfig,
    IndexConfig,
    ItemToItemConfig,
    PipelineConfig,
    TrainingConfig,
    TwoTowerConfig,
)
from raysys.logs.avro import to_avro
from raysys.logs.schema import Field, Kind, Schema, ValueType
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.release import MODEL_DIRECTORY, Release
from raysys.serving.messages import Query
from raysys.state.items import Item
from tests.unit.commands.builders import release_trained, release_untrained
from tests.unit.dataset.builders import Row, write_dataset
from tests.unit.histories import histories_of
from tests.unit.serving.released_world import answers

WAR, LOVE = [f"w{n}" for n in range(6)], [f"l{n}" for n in range(6)]
ITEM_SCHEMA = Schema(
    Kind.ITEMS,
    (
        Field("ITEM_ID", ValueType.STRING),
        Field("GENRE", ValueType.STRING, is_categorical=True),
    ),
)
CONFIG = PipelineConfig(
    model=ItemToItemConfig(item_id_hidden_dim=12, window=3),
    training=TrainingConfig(learning_rate=0.02, batch_size=64, max_epochs=60, patience=60),
    evaluation=EvaluationConfig(ks=(3, 5), metric_k=3),
    index=IndexConfig(num_partitions=3),
)


def rows() -> list[Row]:
    """Return what people of two tastes took, five of six each."""
    random = np.random.default_rng(1)
    return [
        (f"u{user:02}", str(item), place)
        for user in range(24)
        for place, item in enumerate(random.permutation(WAR if user % 2 else LOVE)[:5])
    ]


def write(path: Path, these: list[Row], *more: str) -> Path:
    """Write a dataset; items whose ids begin with w are of one genre.

    Args:
        more: items beside those of both tastes.
    """
    item_ids = [*LOVE, *WAR, *more]
    genres = ["war" if item_id[0] == "w" else "love" for item_id in item_ids]
    table = pa.table({"item_id": item_ids, "title": [None] * len(item_ids), "genre": genres})
    table = table.cast(pa.schema([*tables.ITEMS, pa.field("genre", pa.string())]))
    in_order = sorted(these, key=lambda row: (row[0], row[2]))
    return write_dataset(path, [in_order], table, schemas={"items": to_avro(ITEM_SCHEMA)})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory = tmp_path_factory.mktemp("similar")
    dataset = write(directory / "dataset", rows())
    return release_trained(dataset, directory / "releases", CONFIG)


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict:
    code = main([*map(str, arguments), "--json"])
    line: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == (0 if line["ok"] else 1)
    return line


def test_what_is_like_an_item_is_what_the_same_people_took(
    release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--item", "w0", "l3", "--num", 5)
    line = run("recommend", "--release", release.path, *asked, capsys=capsys)
    assert sorted(line["recommendations"]["w0"]) == WAR[1:]
    assert sorted(line["recommendations"]["l3"]) == [*LOVE[:3], *LOVE[4:]]
    # The same as for somebody whose only item it is.
    model = ReleasedModel(release)
    asked_num = model.items.numbers(["w0"])[0]
    [expected] = model.ranked(histories_of([[asked_num]]), 5, max_seen_items=9)
    assert line["recommendations"]["w0"] == expected


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (("--item", "w0", "w9"), "UnknownIdError", "knows no item 'w9'"),
        (("--item", "w0", "--num", 501), "ConfigError", "[1, 500]"),
    ],
)
def test_an_item_that_is_not_known_is_named(
    asked: tuple[object, ...],
    error: str,
    words: str,
    release: Release,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = run("recommend", "--release", release.path, *asked, capsys=capsys)
    assert line["error"] == error
    assert words in line["message"]


def test_a_model_that_reads_no_items_cannot_be_asked_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write(tmp_path / "dataset", rows())
    config = CONFIG.model_copy(update={"model": TwoTowerConfig(embedding_dim=4)})
    of_users = release_untrained(dataset, tmp_path / "releases", config)
    line = run("recommend", "--release", of_users.path, "--item", "w0", capsys=capsys)
    assert line["error"] == "ConfigError"
    assert "reads no items" in line["message"]


def test_models_of_histories_say_what_comes_after_an_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write(tmp_path / "dataset", rows())
    config = CONFIG.model_copy(update={"model": GruConfig(hidden_dimension=8)})
    of_histories = release_untrained(dataset, tmp_path / "releases", config)
    line = run("recommend", "--release", of_histories.path, "--item", "w0", capsys=capsys)
    assert len(line["recommendations"]["w0"]) == 10
    assert "w0" not in line["recommendations"]["w0"]


def test_users_or_items_are_asked_for_and_not_both() -> None:
    for asked in ([], ["--user", "u01", "--item", "w0"]):
        with pytest.raises(SystemExit):
            main(["recommend", "--release", "r", *asked])


def test_the_report_has_what_knows_as_much(release: Release) -> None:
    models = release.read_json("metrics.json")["models"]
    baselines = {"popularity", "last item", "recency EASE", "item neighbors"}
    assert set(models) == {"item_to_item"} | baselines
    assert (
        release.manifest.metrics["hit_rate_at_3"] > models["popularity"]["means"]["hit_rate_at_3"]
    )


def test_what_is_served_is_what_evaluation_ranks_for_users_and_for_items(
    release: Release, tmp_path: Path
) -> None:
    model = ReleasedModel(release)
    users, items = model.histories.user_ids.to_pylist(), model.items.ids.to_pylist()
    queries = [
        *(Query(user, None, 4) for user in users),
        *(Query(None, item, 11) for item in items),
    ]
    served = answers(release, tmp_path, queries)
    of_users = model.ranked(model.histories, 4, max_seen_items=100)
    alone = histories_of([[num] for num in range(1, len(items) + 1)])
    of_items = model.ranked(alone, 11, max_seen_items=100)
    assert [answer.item_ids for answer in served] == [*of_users, *of_items]
    assert {answer.source for answer in served[len(users) :]} == {"similar-items"}


def test_a_new_item_has_the_neighbors_of_its_genre_and_is_one(
    release: Release, tmp_path: Path
) -> None:
    new = Item("new", '{"GENRE": "war"}')
    asked = [Query(None, "new", 6), Query(None, "w0", 6), Query(None, "l0", 6)]
    of_new, of_war, of_love = answers(release, tmp_path, asked, put=[new])
    assert sorted(of_new.item_ids) == WAR
    assert (of_new.source, of_new.reason, of_new.scores) == ("similar-items", None, None)
    assert sorted(of_war.item_ids) == sorted(["new", *WAR[1:]])
    assert sorted(of_love.item_ids[:5]) == LOVE[1:]


def test_an_item_of_an_update_has_the_neighbors_of_its_genre(
    release: Release, tmp_path: Path
) -> None:
    grown = write(tmp_path / "grown", [*rows(), ("zed", "w-new", 9_000)], "w-new")
    update = open_update(release, grown)
    assert update.num_active_users == 1
    assert not update.is_learnable  # a pair needs two
    draft = tmp_path / "draft"
    draft.mkdir()
    carried_over(update)(update.material, draft)
    items = update.material.items
    model = load_model(draft / MODEL_DIRECTORY, vocabulary=items.hash)
    [query] = encode_histories(model, histories_of([[int(items.numbers(["w-new"])[0])]]))
    scores = encode_catalogue(model) @ query
    best = items.ids_of(np.argsort(-scores)[:6] + 1)
    assert {item_id[0] for item_id in best} == {"w"}
