"""New items of a model that reads features lie where its own tower puts them, without torch."""

import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.dataset.feature_columns import SentenceFeatures
from raysys.dataset.feature_table import FeatureTable
from raysys.dataset.features import FeatureEncoder, fit_features
from raysys.dataset.sentences import sentence_model
from raysys.errors import ConfigError, DamagedReleaseError
from raysys.index.new_items import ItemTower, vectors_of_new_items
from raysys.logs.schema import Field, ValueType
from raysys.models.features import FeatureTower
from raysys.release import COLD_START_TOWER
from tests.unit.index.releases import publish

FIELDS = (
    Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True),
    Field("PRICE", ValueType.DOUBLE, is_nullable=True),
    Field("PLOT", ValueType.STRING, is_nullable=True, is_textual=True),
)
ITEMS = pa.table(
    {
        "genres": ["Drama", "Drama|War", None, "War"],
        "price": [1.0, None, 3.0, 5.0],
        "plot": ["the sea", "the war", None, "sea war"],
    }
)
PROPERTIES = [
    {"genres": "Drama", "price": 1.0, "plot": "the sea"},
    {"GENRES": ["Drama", "War"], "plot": "the war"},
    {"price": "3"},
    {"genres": "War", "price": 5, "plot": "sea war"},
]


def trained(hidden_layers: tuple[int, ...]) -> FeatureTower:
    table = FeatureTable.of(ITEMS, fit_features([ITEMS], FIELDS, min_rows=1))
    torch.manual_seed(3)
    tower = FeatureTower(5, 5, table=table, hidden_layers=hidden_layers)
    with torch.no_grad():
        for weight in tower.parameters():
            weight.copy_(torch.randn(weight.shape))
        tower.ids.weight.zero_()  # nobody has met the items
    return tower.eval()


def as_item_tower(tower: FeatureTower) -> ItemTower:
    return ItemTower(tower.table.encoder, tower.projection.as_arrays())


@pytest.mark.parametrize("hidden_layers", [(), (4,), (4, 3)])
def test_a_new_item_has_the_vector_that_the_trained_tower_gives_its_features(hidden_layers):
    tower = trained(hidden_layers)
    found = as_item_tower(tower).vectors(PROPERTIES)
    assert found.shape == (4, 16)
    assert not found[:, 5:].any()
    expected = tower(torch.arange(1, 5)).detach().numpy()
    np.testing.assert_allclose(found[:, :5], expected, rtol=1e-4, atol=1e-5)


def test_an_items_vector_is_the_same_alone_and_among_others():
    tower = as_item_tower(trained((4,)))
    together = tower.vectors(PROPERTIES)
    for row, properties in enumerate(PROPERTIES):
        assert np.array_equal(tower.vectors([properties])[0], together[row])


def test_an_item_of_which_nothing_is_known_has_a_vector():
    found = as_item_tower(trained(())).vectors([{}, {"other": 1}])
    assert np.array_equal(found[0], found[1])
    assert found[0].any()


def test_a_release_gives_back_what_was_saved(tmp_path):
    tower = as_item_tower(trained((4,)))
    release = publish(tmp_path, tower)
    found = vectors_of_new_items(release)(PROPERTIES)
    assert np.array_equal(found, tower.vectors(PROPERTIES))


def test_a_release_that_reads_sentences_is_refused_at_once_where_they_cannot_be_read(
    tmp_path, monkeypatch
):
    plot = SentenceFeatures(field=FIELDS[2], model="a model that is not installed")
    encoder = FeatureEncoder(columns=(plot,))
    layers = [np.ones((encoder.num_features, 16), np.float32), np.zeros(16, np.float32)]
    release = publish(tmp_path, ItemTower(encoder, layers))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    sentence_model.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'raysys\[text\]'"):
        vectors_of_new_items(release)


def test_a_damaged_tower_is_refused(tmp_path):
    release = publish(tmp_path, as_item_tower(trained(())))
    (release.path / COLD_START_TOWER).write_bytes(b"nothing")
    with pytest.raises(DamagedReleaseError, match=COLD_START_TOWER):
        vectors_of_new_items(release)


def test_a_tower_of_another_width_is_refused(tmp_path):
    release = publish(tmp_path, as_item_tower(trained(())), embedding_dim=32)
    with pytest.raises(DamagedReleaseError, match=r"cannot place new items: .* width 16"):
        vectors_of_new_items(release)
