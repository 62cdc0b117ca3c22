"""What a block computes runs where it says."""

import pytest

from raysys.placement import only_on_nodes, wanted_labels


def test_a_block_says_which_nodes_and_what_was_said_before_holds_after_it() -> None:
    assert wanted_labels() is None
    with only_on_nodes({"kind": "learning"}):
        assert wanted_labels() == {"kind": "learning"}
        with only_on_nodes({}):
            assert wanted_labels() is None
        with pytest.raises(ValueError, match="it failed"), only_on_nodes({"kind": "other"}):
            raise ValueError("it failed")
        assert wanted_labels() == {"kind": "learning"}
    assert wanted_labels() is None
