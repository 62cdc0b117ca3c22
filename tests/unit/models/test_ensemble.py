"""Models that rank together: their scores add up, bit for bit alike wherever they are computed."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.config import EnsembleConfig, GruConfig, TransformerConfig
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.errors import DamagedReleaseError
from raysys.index.new_items import ItemTower
from raysys.logs.schema import Field, ValueType
from raysys.models.build import build_model
from raysys.models.encode import HistoryEncoder, encode_catalogue, encode_histories
from raysys.models.ensemble import Ensemble
from raysys.models.weights import load_model, member_name, save_model
from tests.unit.histories import NUM_ITEMS, random_histories
from tests.unit.models import encoder_laws

MEMBERS = (GruConfig(hidden_dimension=21), TransformerConfig(hidden_dimension=16, history_length=7))
CONFIG = EnsembleConfig(members=MEMBERS, weights=(3.0, 1.0))
GENRES = Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True)


def table_of(names: list[str]) -> FeatureTable:
    rows = pa.table({"genres": [names[n % len(names)] for n in range(NUM_ITEMS)]})
    return FeatureTable.of(rows, fit_features([rows], [GENRES], min_rows=1))


TABLE = table_of(["Drama", "War", "Drama|War"])


def ensemble(*tables: FeatureTable | None) -> Ensemble:
    torch.manual_seed(3)
    members = [
        build_model(config, num_items=NUM_ITEMS, num_users=2, features=FeatureTables(table))
        for config, table in zip(MEMBERS, tables or (TABLE, TABLE), strict=True)
    ]
    for member in members:
        if member.item_tower.projection is not None:
            torch.nn.init.normal_(member.item_tower.projection.features)
    return Ensemble(CONFIG, members).eval()


@pytest.fixture(scope="module")
def model() -> Ensemble:
    return ensemble()


def test_a_score_is_the_weighted_mean_of_the_members_scores(model: Ensemble):
    histories = random_histories(seed=1, count=30, longest=20)
    scores = [
        encode_histories(member, histories) @ encode_catalogue(member).T
        for member, _ in model.each()
    ]
    found = encode_histories(model, histories) @ encode_catalogue(model).T
    np.testing.assert_allclose(found, 0.75 * scores[0] + 0.25 * scores[1], rtol=1e-4, atol=1e-4)
    assert encode_catalogue(model).shape == (NUM_ITEMS, 32 + 16)
    assert model.history_length == CONFIG.history_length == MEMBERS[0].history_length


@pytest.mark.parametrize("seed", range(3))
def test_a_history_has_the_same_bits_wherever_it_stands(model: Ensemble, seed: int):
    histories = random_histories(seed, 60, 30)
    encoder = HistoryEncoder(model)
    encoder_laws.a_history_has_the_same_bits_wherever_it_stands(encoder, histories, seed)
    encoder_laws.a_history_without_known_items_is_zero_and_disturbs_no_other(encoder)


def test_encoding_is_what_the_members_compute(model: Ensemble):
    histories = random_histories(seed=2, count=20, longest=7)  # all of what each member reads
    encoder_laws.encoding_is_what_the_model_computes(model, histories, rtol=1e-4, atol=1e-4)


def test_a_new_item_lies_where_every_member_puts_it(model: Ensemble):
    projection = model.projection_of_items()
    assert projection is not None
    found = ItemTower(projection.encoder, projection.layers).vectors([{"genres": "War"}])
    members = [member.projection_of_items() for member, _ in model.each()]
    apart = [ItemTower(each.encoder, each.layers).vectors([{"genres": "War"}]) for each in members]
    assert np.array_equal(found, np.concatenate(apart, axis=1))
    assert found.any()


@pytest.mark.parametrize("other", [None, table_of(["Comedy", "War"])])
def test_members_that_read_other_features_have_no_projection_together(other: FeatureTable | None):
    assert ensemble(TABLE, other).projection_of_items() is None


def test_a_saved_ensemble_is_the_same_bit_for_bit(model: Ensemble, tmp_path):
    save_model(model, tmp_path, num_users=2, vocabulary="v")
    loaded = load_model(tmp_path, vocabulary="v")
    histories = random_histories(seed=4, count=9, longest=9)
    assert np.array_equal(encode_histories(loaded, histories), encode_histories(model, histories))
    assert np.array_equal(encode_catalogue(loaded), encode_catalogue(model))


def test_an_ensemble_that_lacks_a_member_or_has_another_is_refused(model: Ensemble, tmp_path):
    save_model(model, tmp_path, num_users=2, vocabulary="v")
    first, second = tmp_path / member_name(0), tmp_path / member_name(1)
    second.rename(tmp_path / "away")
    with pytest.raises(DamagedReleaseError, match="member-1 cannot be loaded"):
        load_model(tmp_path, vocabulary="v")
    first.rename(second)
    (tmp_path / "away").rename(first)
    with pytest.raises(DamagedReleaseError, match="member-0 is another model than model.json"):
        load_model(tmp_path, vocabulary="v")


def test_settings_need_a_weight_for_every_member():
    with pytest.raises(ValueError, match="2 members need as many weights, but got 3"):
        EnsembleConfig(members=MEMBERS, weights=(1, 2, 3))
