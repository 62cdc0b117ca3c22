"""The transformer: what a position sees, what attention adds up to, and its encoder's bits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.config import TransformerConfig
from raysys.models.base import QueryBatch
from raysys.models.encode import HistoryEncoder, encode_catalogue
from raysys.models.transformer import (
    Transformer,
    TransformerLayer,
    attention,
    distances_back,
)
from tests.unit.histories import NUM_ITEMS, histories_of, model_of_histories, random_histories
from tests.unit.models import encoder_laws


def transformer(**given: object) -> Transformer:
    settings = {"hidden_dimension": 32, "window": 64, "history_length": 100, "time_gaps": True}
    model = model_of_histories(TransformerConfig(**settings | given))
    assert isinstance(model, Transformer)
    with torch.no_grad():  # so that distances matter, and positions differ by more than rounding
        for layer in model.layers:
            layer.distance_bias.normal_()
        for weight in model.parameters():
            weight.mul_(5)
        for table in (model.event_types, model.gaps):  # but not more than by types and gaps
            if table is not None:
                table.weight.div_(20)
    return model


@pytest.fixture(scope="module")
def model() -> Transformer:
    return transformer()


@pytest.fixture(scope="module")
def encoder(model: Transformer) -> HistoryEncoder:
    return HistoryEncoder(model)


def read(model: Transformer, items: list[int], pieces: list[int] | None = None) -> torch.Tensor:
    pieces = pieces or [1] * len(items)
    with torch.inference_mode():
        return model.read(model.embedded(torch.tensor([items])), torch.tensor([pieces]))[0]


def test_attention_is_worked_out_by_hand():
    # Width 4, so scores are halved: 0 and 2 log 3 / 2, and the bias of the first undoes log 3.
    queries = torch.tensor([[[[1.0, 0, 0, 0]]]])
    keys = torch.tensor([[[[0.0, 0, 0, 0], [2 * math.log(3), 0, 0, 0]]]])
    values = torch.tensor([[[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]]])
    plain = attention(queries, keys, values, torch.zeros(1, 1, 1, 2))
    torch.testing.assert_close(plain[0, 0, 0], torch.tensor([0.25, 0.75, 0, 0]))
    biased = attention(queries, keys, values, torch.tensor([[[[math.log(3), 0.0]]]]))
    torch.testing.assert_close(biased[0, 0, 0], torch.tensor([0.5, 0.5, 0, 0]))
    masked = attention(queries, keys, values, torch.tensor([[[[0.0, -math.inf]]]]))
    assert masked[0, 0, 0].tolist() == [1, 0, 0, 0]


def test_attention_is_that_of_torch():
    torch.manual_seed(1)
    queries, keys, values = torch.randn(3, 2, 4, 7, 5).unbind(0)
    bias = torch.randn(2, 4, 7, 7)
    expected = torch.nn.functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=bias
    )
    torch.testing.assert_close(attention(queries, keys, values, bias), expected)


def test_a_layer_is_an_independent_implementation_s():
    """torch's own encoder layer, normalised first, without bias by distance, computes the same."""
    config = TransformerConfig(hidden_dimension=48, num_heads=3, dropout=0.0)
    torch.manual_seed(3)
    own = TransformerLayer(config)
    reference = torch.nn.TransformerEncoderLayer(
        48, 3, 192, 0.0, lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        batch_first=True, norm_first=True,
    )  # fmt: skip
    names = {
        "into_heads.weight": "self_attn.in_proj_weight",
        "into_heads.bias": "self_attn.in_proj_bias",
        "out_of_heads.weight": "self_attn.out_proj.weight",
        "out_of_heads.bias": "self_attn.out_proj.bias",
        "attention_norm.weight": "norm1.weight",
        "attention_norm.bias": "norm1.bias",
        "wide_norm.weight": "norm2.weight",
        "wide_norm.bias": "norm2.bias",
        "into_wide.weight": "linear1.weight",
        "into_wide.bias": "linear1.bias",
        "out_of_wide.weight": "linear2.weight",
        "out_of_wide.bias": "linear2.bias",
    }
    weights = own.state_dict()
    reference.load_state_dict({theirs: weights[ours] for ours, theirs in names.items()})
    states = torch.randn(2, 6, 48)
    distances = distances_back(6, 64, states.device)
    mask = torch.zeros(6, 6).masked_fill(distances < 0, -math.inf)
    found = own(states, distances.clamp(min=0), mask[None, None])
    torch.testing.assert_close(found, reference(states, src_mask=mask), atol=1e-5, rtol=1e-5)


def test_the_bias_of_a_distance_draws_a_position_to_what_is_that_far_back(model):
    layer = TransformerLayer(TransformerConfig(hidden_dimension=16, num_heads=1)).eval()
    seen = []
    layer.out_of_heads.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        layer.distance_bias[0, 3] = 100.0
        states, distances = torch.randn(1, 6, 16), distances_back(6, 64, torch.device("cpu"))
        mask = torch.zeros(6, 6).masked_fill(distances < 0, -math.inf)
        layer(states, distances.clamp(min=0), mask[None, None])
        values = layer.into_heads(layer.attention_norm(states))[..., 32:]
    torch.testing.assert_close(seen[0][0, 3:], values[0, :3])  # three back from 3, 4 and 5


def test_distances_end_with_the_window_and_what_is_later_has_none():
    distances = distances_back(5, 3, torch.device("cpu"))
    assert distances.tolist() == [
        [0, -1, -1, -1, -1],
        [1, 0, -1, -1, -1],
        [2, 1, 0, -1, -1],
        [2, 2, 1, 0, -1],
        [2, 2, 2, 1, 0],
    ]


def test_a_position_sees_what_is_before_it_and_nothing_after(model):
    whole = read(model, [1, 2, 3, 4, 5])
    torch.testing.assert_close(read(model, [1, 2, 3])[-1], whole[2])
    torch.testing.assert_close(read(model, [1, 2, 3, 9, 9])[2], whole[2])
    assert not torch.allclose(read(model, [9, 2, 3])[-1], whole[2])


def test_a_position_sees_its_own_piece_alone(model):
    together = read(model, [1, 2, 3, 7, 8, 4], [1, 1, 1, 2, 2, 3])
    for items, span in (([1, 2, 3], slice(0, 3)), ([7, 8], slice(3, 5)), ([4], slice(5, 6))):
        torch.testing.assert_close(together[span], read(model, items))


def test_the_type_of_an_event_and_the_gap_before_it_are_read(model):
    encoder_laws.the_type_of_an_event_and_the_gap_before_it_are_read(model)


def test_the_order_of_a_history_matters(model):
    assert not torch.allclose(read(model, [1, 2, 3])[-1], read(model, [2, 1, 3])[-1])


def test_no_gradient_is_lost_and_none_is_no_number():
    model = transformer(num_layers=3, num_heads=3, hidden_dimension=17).train()
    items, pieces = torch.randint(1, NUM_ITEMS, (4, 9)), torch.tensor([[1] * 5 + [0] * 4] * 4)
    types, gaps = torch.randint(1, 4, (4, 9)), torch.randint(1, 32, (4, 9))
    model.read(model.embedded(items, types, gaps), pieces).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any() or name == "norm.weight", name


def test_a_width_is_rounded_up_to_a_multiple_of_16():
    model = transformer(hidden_dimension=149)
    assert model.embedding_dim == model.items.ids.weight.shape[1] == 160


def test_an_empty_history_is_the_zero_query(model):
    batch = QueryBatch(torch.zeros(2), torch.tensor([[0, 0], [0, 4]]), torch.tensor([0, 1]))
    assert not model.encode_queries(batch)[0].any()
    torch.testing.assert_close(model.encode_queries(batch)[1], read(model, [4])[0])
    nothing = QueryBatch(torch.zeros(2), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2))
    assert model.encode_queries(nothing).tolist() == [[0.0] * 32] * 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([1, 7, 40, 120]))
def test_a_history_has_the_same_bits_wherever_it_stands(encoder, seed, count, longest):
    histories = random_histories(seed, count, longest)
    encoder_laws.a_history_has_the_same_bits_wherever_it_stands(encoder, histories, seed)


@pytest.mark.parametrize("width", [16, 64, 149])
def test_a_history_alone_has_the_bits_it_has_among_a_hundred(width):
    encoder = HistoryEncoder(transformer(hidden_dimension=width))
    histories = random_histories(seed=5, count=100, longest=60)
    encoder_laws.a_history_alone_has_the_bits_it_has_among_others(encoder, histories)


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_encoding_is_what_the_model_computes(heads):
    histories = random_histories(seed=8, count=40, longest=70)
    model = transformer(num_heads=heads)
    encoder_laws.encoding_is_what_the_model_computes(model, histories, rtol=1e-4, atol=1e-4)


def test_the_number_of_threads_outside_changes_no_bit(model):
    histories = random_histories(seed=6, count=33, longest=50)
    encoder_laws.the_number_of_threads_outside_changes_no_bit(model, histories)


@pytest.mark.parametrize("length", [3, 16, 17])
def test_only_the_newest_interactions_are_read(length):
    short = HistoryEncoder(transformer(history_length=length))
    newest = [*range(1, length + 1)]
    found = short.encode(histories_of([[9, 9, 9, *newest], newest, newest[1:]]))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


def test_unknown_items_are_skipped_before_the_newest_are_taken():
    short = transformer(history_length=2)
    encoder_laws.unknown_items_are_skipped_before_the_two_newest_are_taken(short)


def test_a_history_without_known_items_is_zero_and_disturbs_no_other(encoder):
    encoder_laws.a_history_without_known_items_is_zero_and_disturbs_no_other(encoder)
    assert encoder.encode(histories_of([])).shape == (0, 32)


def test_an_encoder_keeps_the_weights_it_was_made_with():
    encoder_laws.an_encoder_keeps_the_weights_it_was_made_with(transformer())


def test_what_is_read_is_what_queries_are_compared_with(model):
    weights = model.items.ids.weight.detach().numpy()
    assert np.array_equal(encode_catalogue(model), weights[1:])
