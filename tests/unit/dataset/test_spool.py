"""Histories kept in files in the order in which they come."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.dataset.spool import Spool

ANN_BOB = Histories.from_lists(["ann", "bob"], [[7, 8], []], [[1, 2], []])
CAT = Histories.from_lists(["cat"], [[9]], [[3]])
NOBODY = Histories.from_lists([], [], [])
WEIGHED = Histories.from_lists(["dan"], [[5]], [[4]], weights=[np.array([0.5], np.float32)])


def spooled(work: Path, *blocks: Histories) -> Histories:
    spool = Spool(work, "v")
    for block in blocks:
        spool.append(block)
    return spool.histories()


def test_users_come_back_in_the_order_in_which_they_were_appended(tmp_path: Path) -> None:
    found = spooled(tmp_path, CAT, NOBODY, ANN_BOB)
    assert found.user_ids.to_pylist() == ["cat", "ann", "bob"]
    assert found.offsets.tolist() == [0, 1, 3, 3]
    assert found.item_nums.tolist() == [9, 7, 8]
    assert found.occurred_at_us.tolist() == [3, 1, 2]
    assert (found.weights, found.vocabulary_hash) == (None, "v")


def test_what_was_mapped_outlives_its_files(tmp_path: Path) -> None:
    found = spooled(tmp_path, ANN_BOB)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    assert found.item_nums.tolist() == [7, 8]


def test_nobody_is_nobody(tmp_path: Path) -> None:
    assert len(spooled(tmp_path)) == len(spooled(tmp_path, NOBODY)) == 0


def test_weights_are_kept_and_must_be_everywhere_or_nowhere(tmp_path: Path) -> None:
    assert spooled(tmp_path, WEIGHED).weights.tolist() == [0.5]
    rated = replace(CAT, labels=np.array([4], np.float32))
    assert spooled(tmp_path, rated).labels.tolist() == [4]
    with pytest.raises(ValueError, match="with different columns"):
        spooled(tmp_path, CAT, WEIGHED)


def test_event_types_are_kept_beside_weights(tmp_path: Path) -> None:
    typed = replace(WEIGHED, event_types=np.array([3], np.int16))
    found = spooled(tmp_path, typed, typed)
    assert (found.event_types.tolist(), found.weights.tolist()) == ([3, 3], [0.5, 0.5])
    with pytest.raises(ValueError, match="with different columns"):
        spooled(tmp_path, WEIGHED, typed)


def test_two_spools_share_a_directory(tmp_path: Path) -> None:
    one, other = Spool(tmp_path, ""), Spool(tmp_path, "")
    one.append(ANN_BOB)
    other.append(CAT)
    assert one.histories().item_nums.tolist() == [7, 8]
    assert other.histories().item_nums.tolist() == [9]
