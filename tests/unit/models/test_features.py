"""Towers of ids and features, checked against sums and products worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.config import GruConfig, TransformerConfig, TwoTowerConfig
from raysys.dataset.bags import Bags
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import FeatureEncoder, fit_features
from raysys.dataset.histories import Histories
from raysys.errors import DamagedReleaseError
from raysys.logs.schema import Field, ValueType
from raysys.models.base import QueryBatch
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.extension import extended
from raysys.models.features import FeatureTower
from raysys.models.weights import FEATURES_NAME, load_model, save_model
from tests.unit.histories import histories_of

GENRES = Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True)
ITEMS = pa.table({"genres": ["Drama", "Drama|War", None, "War"]})
ENCODER = fit_features([ITEMS], [GENRES], min_rows=1)  # 0: unknown, 1: Drama, 2: War
TABLE = FeatureTable.of(ITEMS, ENCODER)


def tower(**settings) -> FeatureTower:
    """Return a tower of four items and an unknown one, all of whose weights are known."""
    torch.manual_seed(4)
    made = FeatureTower(5, 2, table=TABLE, **settings)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape))
        made.ids.weight[0] = 0.0
    return made.eval()


def test_a_feature_table_stands_in_the_order_of_the_numbers():
    assert isinstance(TABLE.encoder, FeatureEncoder)
    bags = TABLE.bags
    assert bags.offsets.tolist() == [0, 0, 1, 3, 4, 5]  # the unknown has none
    assert bags.nums.tolist() == [1, 1, 2, 0, 2]
    assert bags.values.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_vector_is_the_row_of_the_id_plus_those_of_its_features():
    made = tower()
    ids, features = made.ids.weight, made.projection.features
    expected = torch.stack(
        [
            ids[2] + features[1] + features[2],
            torch.zeros(2),
            ids[3] + features[0],
            ids[2] + features[1] + features[2],
        ]
    )
    found = made(torch.tensor([[2, 0], [3, 2]]))
    torch.testing.assert_close(found, expected.reshape(2, 2, 2))


def test_hidden_layers_stand_between_features_and_vector():
    made = tower(hidden_layers=(3, 4))
    first, bias, second, second_bias, third, third_bias = made.projection.as_arrays()
    assert [each.shape for each in (first, second, third)] == [(3, 3), (3, 4), (4, 16)]
    hidden = np.maximum(first[1] + first[2] + bias, 0)
    hidden = np.maximum(hidden @ second + second_bias, 0)
    assert not third[:, 2:].any()
    expected = made.ids.weight[2].detach().numpy() + (hidden @ third + third_bias)[:2]
    np.testing.assert_allclose(made(torch.tensor([2])).detach().numpy()[0], expected, rtol=1e-5)


def test_a_tower_without_features_is_its_table():
    made = FeatureTower(5, 2)
    assert [name for name, _ in made.named_parameters()] == ["ids.weight"]
    assert torch.equal(made(torch.arange(5)), made.ids.weight)


def test_numbers_beyond_the_table_have_no_features():
    made = FeatureTower(7, 2, table=TABLE)  # two buckets behind four items
    with torch.no_grad():
        made.projection.features.fill_(9.0)
    assert torch.equal(made(torch.tensor([5, 6])), made.ids.weight[5:])


@pytest.mark.parametrize("hidden_layers", [(), (3,)])
def test_an_untrained_projection_adds_nothing_and_learns_at_once(hidden_layers):
    made = FeatureTower(5, 2, table=TABLE, hidden_layers=hidden_layers)
    assert torch.equal(made(torch.arange(1, 5)), made.ids.weight[1:])
    made(torch.tensor([1, 2])).sum().backward()
    last = made.projection.layers[-1].weight if hidden_layers else made.projection.features
    assert last.grad.any()


def test_training_leaves_out_a_share_of_the_ids_and_encoding_none():
    made = tower(id_dropout=0.25)
    whole = made(torch.arange(1, 5))
    from_features = whole - made.ids.weight[1:]
    made.train()
    torch.manual_seed(1)
    left_out = 0
    for _ in range(200):
        found = made(torch.arange(1, 5))
        is_whole = (found == whole).all(dim=1)
        torch.testing.assert_close(found[~is_whole], from_features[~is_whole])
        left_out += int((~is_whole).sum())
    assert left_out / 800 == pytest.approx(0.25, abs=0.05)


def test_all_rows_are_what_the_tower_says_of_each():
    made = tower(hidden_layers=(3,))
    torch.testing.assert_close(made.all_rows(), made(torch.arange(5)))
    assert torch.equal(made.all_rows(), made.all_rows())


@pytest.mark.parametrize("num_rows", [5, 7])
@pytest.mark.parametrize("hidden_layers", [(), (3,)])
def test_vectors_that_are_computed_once_and_their_gradients_are_those_of_lookups(
    hidden_layers, num_rows
):
    made = FeatureTower(num_rows, 2, table=TABLE, hidden_layers=hidden_layers).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape))
    nums, factors = torch.tensor([[2, 0, 4], [2, 1, 3]]), torch.randn(2, 3, 2).double()

    def found() -> list[torch.Tensor]:
        made.zero_grad()
        vectors = made(nums)
        (vectors * factors).sum().backward()
        return [vectors.detach(), *(weight.grad.clone() for weight in made.parameters())]

    by_lookup = found()
    with made.computed_once():
        assert made(nums) is not made(nums)
        at_once = found()
    torch.testing.assert_close(at_once, by_lookup)
    assert all(each.any() for each in at_once)
    torch.testing.assert_close(found(), by_lookup)  # nothing is kept


def test_vectors_that_are_computed_once_do_without_the_same_ids():
    made = tower(id_dropout=0.5).train()
    ids = made.ids.weight
    from_features = tower().eval()(torch.arange(5)) - ids
    torch.manual_seed(1)
    with made.computed_once():
        first, second = made(torch.arange(1, 5)), made(torch.tensor([4, 3, 2, 1]))
    assert torch.equal(first, second.flip(0))
    kept = (first - from_features[1:]).abs().sum(1) > 1e-4
    assert 0 < kept.sum() < 4
    torch.testing.assert_close(first, from_features[1:] + ids[1:] * kept[:, None])


CONFIG = TwoTowerConfig(embedding_dim=2, num_user_buckets=1, hidden_layers=(3,))
USERS = FeatureTable.of(pa.table({"genres": ["War", "Drama"]}), ENCODER)


def two_towers(num_items: int = 4):
    torch.manual_seed(5)
    model = build_model(
        CONFIG, num_items=num_items, num_users=2, features=FeatureTables(TABLE, USERS)
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape))
        model.query_tower.ids.weight[0] = model.candidate_tower.ids.weight[0] = 0.0
    return model.eval()


SEQUENTIAL = [GruConfig(hidden_dimension=8), TransformerConfig(hidden_dimension=16)]


def reader(config: GruConfig | TransformerConfig, table: FeatureTable = TABLE):
    """Return a model that reads what is known of four items, with weights that show it."""
    torch.manual_seed(7)
    model = build_model(config, num_items=4, num_users=2, features=FeatureTables(table, USERS))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape))
        model.items.ids.weight[0] = 0.0
        model.gaps.weight[0] = 0.0
    return model.eval()


@pytest.mark.parametrize("config", SEQUENTIAL)
def test_a_model_of_histories_reads_and_ranks_items_with_their_features(config):
    model = reader(config)
    width = model.embedding_dim
    catalogue = encode_catalogue(model)[:, :width]
    own = model.items.ids.weight[1:].numpy(force=True)
    features = model.items.projection.features.numpy(force=True)
    np.testing.assert_allclose(catalogue[0], own[0] + features[1], rtol=1e-5)
    np.testing.assert_allclose(catalogue[1], own[1] + features[1] + features[2], rtol=1e-5)

    histories = Histories.from_lists(["ann"], [[2, 1, 4]], [[0, 1, 2]])
    batch = QueryBatch(
        torch.zeros(1),
        torch.tensor([[2, 1, 4]]),
        torch.tensor([3]),
        gaps=torch.tensor([[0, 1, 1]]),  # below a second
    )
    expected = model.encode_queries(batch).numpy(force=True)
    found = encode_histories(model, histories)[:, :width]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model.items.projection.features.zero_()
    assert np.abs(encode_histories(model, histories)[:, :width] - found).max() > 0.01


def test_what_a_gru_reads_while_it_learns_is_what_it_reads_later():
    model = reader(SEQUENTIAL[0])
    states, last = model.read_segment(
        model.embedded(torch.tensor([[2], [1], [4]])), torch.zeros(1, 8)
    )
    batch = QueryBatch(torch.zeros(1), torch.tensor([[2, 1, 4]]), torch.tensor([3]))
    torch.testing.assert_close(states[-1], model.encode_queries(batch))
    torch.testing.assert_close(last, states[-1])


@pytest.mark.parametrize("config", SEQUENTIAL)
def test_an_item_that_is_new_to_a_model_of_histories_lies_where_its_features_put_it(config):
    model = reader(config)
    grown = FeatureTable.of(pa.concat_tables([ITEMS, ITEMS.slice(0, 1)]), ENCODER)
    larger = extended(model, num_items=5, num_users=2, features=FeatureTables(grown, USERS))
    vectors = encode_catalogue(larger.eval())
    np.testing.assert_array_equal(vectors[:4], encode_catalogue(model))
    drama = model.items.projection.features[1].numpy(force=True)
    np.testing.assert_allclose(vectors[4, : len(drama)], drama, rtol=1e-5)


def test_a_query_is_encoded_with_its_users_features():
    model = two_towers()
    expected = model.query_tower.all_rows().numpy()
    histories = histories_of([[1]] * len(expected))
    found = encode_histories(model, histories, user_nums=np.arange(len(expected)))[:, :2]
    np.testing.assert_array_equal(found, expected)
    own = model.query_tower.ids.weight.detach().numpy()
    assert (found[1:3] != own[1:3]).any()
    np.testing.assert_allclose(found[3], own[3])  # of a bucket


def test_a_saved_model_knows_its_features(tmp_path):
    model = two_towers()
    save_model(model, tmp_path, num_users=2, vocabulary="abc")
    loaded = load_model(tmp_path, vocabulary="abc")
    np.testing.assert_array_equal(encode_catalogue(loaded), encode_catalogue(model))
    assert torch.equal(loaded.query_tower.all_rows(), model.query_tower.all_rows())
    assert loaded.features.items.encoder == ENCODER


def test_damaged_features_are_told(tmp_path):
    save_model(two_towers(), tmp_path, num_users=2, vocabulary="abc")
    (tmp_path / FEATURES_NAME / "items.arrow").write_bytes(b"")
    with pytest.raises(DamagedReleaseError, match=r"what it knows of items .* cannot be read"):
        load_model(tmp_path, vocabulary="abc")


def test_new_items_lie_where_their_features_put_them_and_no_other_moves():
    model = two_towers()
    grown = FeatureTable.of(pa.concat_tables([ITEMS, ITEMS.slice(0, 1)]), ENCODER)
    larger = extended(model, num_items=5, num_users=2, features=FeatureTables(grown, USERS))
    vectors = encode_catalogue(larger.eval())
    np.testing.assert_array_equal(vectors[:4], encode_catalogue(model))
    from_features = encode_catalogue(model)[0, :2] - model.candidate_tower.ids.weight[1].numpy(
        force=True
    )
    np.testing.assert_allclose(vectors[4, :2], from_features, rtol=1e-5)


def test_an_empty_bag_is_no_feature():
    none = FeatureTable(ENCODER, Bags.empty(5))
    made = FeatureTower(5, 2, table=none)
    assert torch.equal(made(torch.arange(5)), made.ids.weight)
