import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.config import GruConfig, TwoTowerConfig
from raysys.models import gru_encoder
from raysys.models.build import build_model
from raysys.models.encode import HistoryEncoder, encode_catalogue, encode_histories
from tests.unit.histories import NUM_ITEMS, histories_of, model_of_histories, random_histories
from tests.unit.models import encoder_laws


def gru(width: int = 149, history_length: int = 300):
    return model_of_histories(
        GruConfig(hidden_dimension=width, history_length=history_length, time_gaps=True)
    )


@pytest.fixture(scope="module")
def model():
    return gru()


@pytest.fixture(scope="module")
def encoder(model):
    return HistoryEncoder(model)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.sampled_from([1, 7, 40, 300]))
def test_a_history_has_the_same_bits_wherever_it_stands(encoder, seed, count, longest):
    histories = random_histories(seed, count, longest)
    encoder_laws.a_history_has_the_same_bits_wherever_it_stands(encoder, histories, seed)


def test_a_history_alone_has_the_bits_it_has_among_two_hundred(encoder):
    histories = random_histories(seed=5, count=200, longest=60)
    encoder_laws.a_history_alone_has_the_bits_it_has_among_others(encoder, histories)


@pytest.mark.parametrize("place", range(gru_encoder.TILE))
def test_every_place_of_a_tile_gives_the_same_bits(encoder, place):
    lists = [[7, 8, 9] * 5] * gru_encoder.TILE
    lists[place] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    found = encoder.encode(histories_of(lists))[place]
    assert np.array_equal(found, encoder.encode(histories_of([lists[place]]))[0])


def test_the_number_of_threads_outside_changes_no_bit(model):
    histories = random_histories(seed=6, count=33, longest=50)
    encoder_laws.the_number_of_threads_outside_changes_no_bit(model, histories)


def test_a_catalogue_too_large_to_keep_projected_has_the_same_bits(model, monkeypatch):
    histories = random_histories(seed=7, count=50, longest=80)
    kept = encode_histories(model, histories)
    monkeypatch.setattr(gru_encoder, "_MAX_TABLE_BYTES", 0)
    assert np.array_equal(encode_histories(model, histories), kept)


def test_encoding_is_what_the_model_computes(model):
    histories = random_histories(seed=8, count=40, longest=70)
    encoder_laws.encoding_is_what_the_model_computes(model, histories, rtol=1e-7, atol=2e-6)


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


def test_the_type_of_an_event_and_the_gap_before_it_are_read(model):
    encoder_laws.the_type_of_an_event_and_the_gap_before_it_are_read(model)


def test_unknown_items_are_skipped_before_the_newest_are_taken():
    short = gru(width=16, history_length=2)
    encoder_laws.unknown_items_are_skipped_before_the_two_newest_are_taken(short)


def test_a_history_without_known_items_is_zero_and_disturbs_no_other(encoder):
    encoder_laws.a_history_without_known_items_is_zero_and_disturbs_no_other(encoder)


def test_no_histories_give_no_vectors(encoder):
    assert encoder.encode(histories_of([])).shape == (0, 160)


def test_a_two_tower_query_is_the_users_row_over_the_temperature():
    config = TwoTowerConfig(embedding_dim=16, temperature=0.5)
    model = build_model(config, num_items=4, num_users=3)
    found = encode_histories(model, histories_of([[1], [1]]), user_nums=np.array([2, 0]))
    assert np.array_equal(found[0], 2 * model.query_tower.ids.weight[2].detach().numpy())
    assert not found[1].any()


def test_an_encoder_keeps_the_weights_it_was_made_with():
    encoder_laws.an_encoder_keeps_the_weights_it_was_made_with(gru(width=16))
