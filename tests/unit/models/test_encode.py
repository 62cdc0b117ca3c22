import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.config import GruConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models import gru_encoder
from raysys.models.base import QueryBatch
from raysys.models.build import build_model
from raysys.models.encode import HistoryEncoder, encode_catalogue, encode_histories

NUM_ITEMS = 90


def gru(width: int = 149, history_length: int = 300):
    torch.manual_seed(2)
    config = GruConfig(hidden_dimension=width, history_length=history_length)
    return build_model(config, num_items=NUM_ITEMS, num_users=5).eval()


@pytest.fixture(scope="module")
def model():
    return gru()


@pytest.fixture(scope="module")
def encoder(model):
    return HistoryEncoder(model)


def histories_of(lists: list[list[int]]) -> Histories:
    names = [f"user-{row}" for row in range(len(lists))]
    return Histories.from_lists(names, lists, [range(len(items)) for items in lists])


def random_histories(seed: int, count: int, longest: int) -> Histories:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest + 1, count)
    return histories_of([random.integers(1, NUM_ITEMS + 1, n).tolist() for n in lengths])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 200), st.sampled_from([1, 7, 40, 300]))
def test_a_history_has_the_same_bits_wherever_it_stands(encoder, seed, count, longest):
    histories = random_histories(seed, count, longest)
    together = encoder.encode(histories)
    random = np.random.default_rng(seed)
    order = random.permutation(count)
    assert np.array_equal(encoder.encode(histories.take(order)), together[order])
    few = random.choice(count, size=min(count, int(random.integers(1, 20))), replace=False)
    assert np.array_equal(encoder.encode(histories.take(few)), together[few])


def test_a_history_alone_has_the_bits_it_has_among_two_hundred(encoder):
    histories = random_histories(seed=5, count=200, longest=60)
    together = encoder.encode(histories)
    alone = [encoder.encode(histories.take([row]))[0] for row in range(len(histories))]
    assert np.array_equal(np.stack(alone), together)


@pytest.mark.parametrize("place", range(gru_encoder.TILE))
def test_every_place_of_a_tile_gives_the_same_bits(encoder, place):
    lists = [[7, 8, 9] * 5] * gru_encoder.TILE
    lists[place] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    found = encoder.encode(histories_of(lists))[place]
    assert np.array_equal(found, encoder.encode(histories_of([lists[place]]))[0])


def test_the_number_of_threads_outside_changes_no_bit(model):
    histories = random_histories(seed=6, count=33, longest=50)
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = encode_histories(model, histories)
        torch.set_num_threads(2)
        assert np.array_equal(encode_histories(model, histories), one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(num_threads)


def test_a_catalogue_too_large_to_keep_projected_has_the_same_bits(model, monkeypatch):
    histories = random_histories(seed=7, count=50, longest=80)
    kept = encode_histories(model, histories)
    monkeypatch.setattr(gru_encoder, "_MAX_TABLE_BYTES", 0)
    assert np.array_equal(encode_histories(model, histories), kept)


def test_encoding_is_what_the_model_computes(model):
    histories = random_histories(seed=8, count=40, longest=70)
    items, lengths = histories.padded(np.arange(40), 70)
    batch = QueryBatch(
        torch.zeros(40, dtype=torch.int64),
        torch.from_numpy(items).long(),
        torch.from_numpy(lengths),
    )
    with torch.inference_mode():
        expected = model.encode_queries(batch).numpy()
    encoded = encode_histories(model, histories)
    np.testing.assert_allclose(encoded[:, :149], expected, atol=2e-6)


def test_vectors_are_padded_with_zeros_to_a_multiple_of_16(model):
    queries, candidates = encode_histories(model, histories_of([[1, 2]])), encode_catalogue(model)
    assert queries.shape == (1, 160)
    assert candidates.shape == (NUM_ITEMS, 160)
    assert not queries[:, 149:].any()
    assert not candidates[:, 149:].any()


def test_row_r_of_the_catalogue_is_item_r_plus_1(model):
    weights = model.items.ids.weight.detach().numpy()
    assert np.array_equal(encode_catalogue(model)[:, :149], weights[1:])


def test_only_the_newest_interactions_are_read():
    short = HistoryEncoder(gru(width=16, history_length=3))
    found = short.encode(histories_of([[9, 9, 9, 1, 2, 3], [1, 2, 3], [2, 3]]))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


def test_unknown_items_are_skipped_before_the_newest_are_taken():
    short = HistoryEncoder(gru(width=16, history_length=2))
    found = short.encode(histories_of([[1, 0, 2, 0, 0], [1, 2]]))
    assert np.array_equal(found[0], found[1])


def test_a_history_without_known_items_is_zero_and_disturbs_no_other(encoder):
    found = encoder.encode(histories_of([[], [0, 0], [5]]))
    assert not found[:2].any()
    assert np.array_equal(found[2], encoder.encode(histories_of([[5]]))[0])


def test_no_histories_give_no_vectors(encoder):
    assert encoder.encode(histories_of([])).shape == (0, 160)


def test_a_two_tower_query_is_the_users_row_over_the_temperature():
    config = TwoTowerConfig(embedding_dim=16, temperature=0.5)
    model = build_model(config, num_items=4, num_users=3)
    found = encode_histories(model, histories_of([[1], [1]]), user_nums=np.array([2, 0]))
    assert np.array_equal(found[0], 2 * model.query_tower.ids.weight[2].detach().numpy())
    assert not found[1].any()


def test_an_encoder_keeps_the_weights_it_was_made_with():
    model = gru(width=16)
    encoder = HistoryEncoder(model)
    before = encoder.encode(histories_of([[1, 2]]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    assert np.array_equal(encoder.encode(histories_of([[1, 2]])), before)
