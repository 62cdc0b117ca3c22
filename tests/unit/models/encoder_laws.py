"""What holds for the encoder of every model of histories."""

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.dataset.inputs import newest_inputs
from raysys.models.base import EmbeddingModel, QueryBatch
from raysys.models.encode import HistoryEncoder, encode_histories
from tests.unit.histories import histories_of


def a_history_has_the_same_bits_wherever_it_stands(
    encoder: HistoryEncoder, histories: Histories, seed: int
) -> None:
    together = encoder.encode(histories)
    random = np.random.default_rng(seed)
    count = len(histories)
    order = random.permutation(count)
    assert np.array_equal(encoder.encode(histories.take(order)), together[order])
    few = random.choice(count, size=min(count, int(random.integers(1, 20))), replace=False)
    assert np.array_equal(encoder.encode(histories.take(few)), together[few])


def a_history_alone_has_the_bits_it_has_among_others(
    encoder: HistoryEncoder, histories: Histories
) -> None:
    together = encoder.encode(histories)
    alone = [encoder.encode(histories.take([row]))[0] for row in range(len(histories))]
    assert np.array_equal(np.stack(alone), together)


def the_number_of_threads_outside_changes_no_bit(
    model: EmbeddingModel, histories: Histories
) -> None:
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = encode_histories(model, histories)
        torch.set_num_threads(2)
        assert np.array_equal(encode_histories(model, histories), one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(num_threads)


def encoding_is_what_the_model_computes(
    model: EmbeddingModel, histories: Histories, *, rtol: float, atol: float
) -> None:
    longest = int(histories.lengths.max())
    inputs = newest_inputs(histories, np.arange(len(histories)), longest, time_gaps=True)
    assert inputs.gaps is not None
    batch = QueryBatch(
        torch.zeros(len(histories), dtype=torch.int64),
        torch.from_numpy(inputs.item_nums),
        torch.from_numpy(histories.lengths),
        None if inputs.event_types is None else torch.from_numpy(inputs.event_types),
        torch.from_numpy(inputs.gaps),
    )
    with torch.inference_mode():
        expected = model.encode_queries(batch).numpy()
    encoded = encode_histories(model, histories)[:, : model.embedding_dim]
    np.testing.assert_allclose(encoded, expected, rtol=rtol, atol=atol)


def the_type_of_an_event_and_the_gap_before_it_are_read(model: EmbeddingModel) -> None:
    def encoded(times: list[int], types: list[int]) -> NDArray[np.float32]:
        histories = Histories.from_lists(["u"], [[1, 2]], [times], event_types=[types])
        return encode_histories(model, histories)

    plain = encoded([0, 10**9], [1, 2])
    assert np.array_equal(encoded([5, 10**9 + 5], [1, 2]), plain)
    assert not np.allclose(encoded([0, 10**12], [1, 2]), plain)
    assert not np.allclose(encoded([0, 10**9], [2, 2]), plain)
    assert not np.allclose(encoded([0, 10**9], [1, 0]), plain)


def unknown_items_are_skipped_before_the_two_newest_are_taken(model: EmbeddingModel) -> None:
    found = encode_histories(model, histories_of([[1, 0, 2, 0, 0], [1, 2]]))
    assert np.array_equal(found[0], found[1])


def a_history_without_known_items_is_zero_and_disturbs_no_other(encoder: HistoryEncoder) -> None:
    found = encoder.encode(histories_of([[], [0, 0], [5]]))
    assert not found[:2].any()
    assert np.array_equal(found[2], encoder.encode(histories_of([[5]]))[0])


def an_encoder_keeps_the_weights_it_was_made_with(model: EmbeddingModel) -> None:
    encoder = HistoryEncoder(model)
    before = encoder.encode(histories_of([[1, 2]]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    assert np.array_equal(encoder.encode(histories_of([[1, 2]])), before)
