"""Items of which a dataset knows nothing but its item table."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from raysys.dataset.cold_items import cold_items, num_cold_items
from raysys.dataset.dataset import open_dataset
from tests.unit.dataset.builders import numbered, write_dataset

ROWS = [("anna", "a", 1_000_000), ("bert", "b", 2_000_000)]


def test_they_are_those_that_nobody_interacted_with_and_come_with_all_that_is_known(
    tmp_path: Path,
) -> None:
    table = pa.table(
        {
            "item_id": ["cold", "a", "colder"],
            "title": ["A cold one", "Seen", None],
            "creation_timestamp": [86_400, 5, None],
            "price": [2.5, 1.0, None],
            "on_sale": [True, False, None],
            "released_at": [datetime(1970, 1, 2, tzinfo=UTC), None, None],
        }
    )
    dataset = open_dataset(write_dataset(tmp_path, [ROWS], items=table))
    assert [*cold_items(dataset)] == [
        (
            "cold",
            {
                "title": "A cold one",
                "creation_timestamp": 86_400,
                "price": 2.5,
                "on_sale": True,
                "released_at": 86_400,
            },
            86_400_000_000,
        ),
        ("colder", {}, None),
    ]
    assert num_cold_items(dataset, dataset.item_vocabulary()) == 2
    assert num_cold_items(dataset, numbered(["a", "cold"])) == 1  # known from an earlier release


def test_without_an_item_table_there_are_none(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path, [ROWS]))
    assert [*cold_items(dataset)] == []
    assert num_cold_items(dataset, dataset.item_vocabulary()) == 0
