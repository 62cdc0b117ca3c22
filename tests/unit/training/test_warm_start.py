"""Who is learnt from when a training goes on from a model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from raysys.config import GruConfig, LeaveLastOut
from raysys.dataset.histories import Histories
from raysys.dataset.splits import split
from raysys.errors import ReleaseMismatchError
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue
from raysys.models.weights import save_model
from raysys.training.pieces import Pieces
from raysys.training.warm_start import CONTEXT, WarmStart, active_rows

HISTORIES = Histories.from_lists(
    ["ann", "bob", "cid", "dan"],
    [[1, 2, 3, 4], [], [5, 6, 7, 8], [9, 9]],
    [[1, 2, 3, 30], [], [1, 2, 3, 20], [21, 22]],
)


def test_only_users_with_something_later_than_the_time_are_active() -> None:
    assert active_rows(HISTORIES, 20).tolist() == [0, 3]  # cid's newest is exactly then
    assert active_rows(HISTORIES, 19).tolist() == [0, 2, 3]
    assert active_rows(HISTORIES, 30).tolist() == []


def test_what_is_new_is_learnt_with_some_of_what_was_before_and_everybody_is_validated() -> None:
    parts = split(HISTORIES, LeaveLastOut())
    pieces = Pieces(parts.train, parts.validation)
    narrowed = WarmStart(Path("unused"), 20).narrowed(pieces, HISTORIES)
    assert narrowed.train.user_ids.to_pylist() == ["ann", "dan"]
    assert narrowed.train.item_nums.tolist() == [1, 2, 9, 9]  # ann's last two are held back
    assert narrowed.validation.relevant.user_ids.to_pylist() == ["ann", "cid"]


def test_of_a_long_history_only_the_end_of_what_was_known_is_learnt_again() -> None:
    lengths_old, num_new = [CONTEXT + 5, CONTEXT, 3], 4
    histories = Histories.from_lists(
        ["ann", "bob", "cid"],
        [[*range(1, old + 1), *[100] * num_new] for old in lengths_old],
        [[*range(old), *range(10_000, 10_000 + num_new)] for old in lengths_old],
    )
    parts = split(histories, LeaveLastOut())  # the last two are held back
    pieces = Pieces(parts.train, parts.validation)
    train = WarmStart(Path("unused"), 9_999).narrowed(pieces, histories).train
    assert train.lengths.tolist() == [CONTEXT + 2, CONTEXT + 2, 5]
    assert train.of(0)[0].tolist() == [*range(6, CONTEXT + 6), 100, 100]
    assert train.of(2)[0].tolist() == [1, 2, 3, 100, 100]


def test_the_model_comes_back_as_it_was_and_can_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(GruConfig(hidden_dimension=8), num_items=3, num_users=1)
    save_model(model, tmp_path, num_users=1, vocabulary="abc")
    start = WarmStart(tmp_path, 0)
    loaded = start.load("abc")
    np.testing.assert_array_equal(encode_catalogue(loaded), encode_catalogue(model))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(ReleaseMismatchError):
        start.load("def")


def test_other_weights_or_another_time_make_another_training(tmp_path: Path) -> None:
    fingerprints = []
    for seed, after_us in [(0, 5), (0, 5), (1, 5), (0, 6)]:
        torch.manual_seed(seed)
        model = build_model(GruConfig(hidden_dimension=8), num_items=3, num_users=1)
        save_model(model, tmp_path, num_users=1, vocabulary="abc")
        fingerprints.append(WarmStart(tmp_path, after_us).fingerprint())
    assert fingerprints[0] == fingerprints[1]
    assert fingerprints[0] not in fingerprints[2:]
