"""When items came to be: by the item table, else by the log."""

import pyarrow as pa
import pytest

from raysys.dataset.creation import created_at_us
from raysys.dataset.histories import Histories

HISTORIES = Histories.from_lists(["a", "b"], [[1, 2, 1], [2, 0]], [[50, 60, 70], [55, 10]])
"""Item 1 was first seen at 50, item 2 at 55, and item 3 never; the newest interaction is at 70."""


def test_an_item_is_as_old_as_its_first_interaction_and_one_without_any_is_new() -> None:
    table = pa.table({"item_id": ["x", "y", "z"]})
    assert created_at_us(table, HISTORIES)[1:].tolist() == [50, 55, 70]


@pytest.mark.parametrize(
    "given", [[2, None, 1.5], ["2", "", "1.5"], ["2", "yesterday", "1.5"], ["2", "-7", "1.5"]]
)
def test_what_the_item_table_says_in_seconds_stands_where_it_is_a_time(given: list[object]) -> None:
    table = pa.table({"item_id": ["x", "y", "z"], "creation_timestamp": given})
    assert created_at_us(table, HISTORIES)[1:].tolist() == [2_000_000, 55, 1_500_000]


def test_a_log_without_interactions_has_no_time() -> None:
    table = pa.table({"item_id": ["x"]})
    assert created_at_us(table, Histories.from_lists([], [], [])).tolist() == [0, 0]
