"""Items of a dataset's item table with which nobody has interacted.

Nothing was learnt of them, so no release holds them: numbers, vectors, negatives and metrics are
those of the items of the log. They get into lists as items do that clients put, see `raysys items`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from raysys.dataset.creation import COLUMN as CREATION
from raysys.dataset.dataset import Dataset
from raysys.dataset.vocabulary import Vocabulary
from raysys.parquet_file import read_batches

_ITEM_ID = "item_id"
_US_PER_S = 1_000_000


def num_cold_items(dataset: Dataset, items: Vocabulary) -> int:
    """Return how many items the item table has that are not among those with numbers."""
    return sum(len(rows) for rows in _cold_rows(dataset, items, [_ITEM_ID]))


def cold_items(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any], int | None]]:
    """Yield each item of the item table with which nobody interacted: its id, what is known of it
    by column (times in seconds since 1970), and when it came to be in microseconds since 1970, None
    where the table says nothing.

    Raises:
        DatasetError: the dataset cannot be read.
    """
    for rows in _cold_rows(dataset, dataset.item_vocabulary(), None):
        for row in rows.to_pylist():
            item_id: str = row.pop(_ITEM_ID)
            seconds = row.get(CREATION)
            known = {name: _plain(value) for name, value in row.items() if value is not None}
            yield item_id, known, None if seconds is None else int(seconds) * _US_PER_S


def _cold_rows(
    dataset: Dataset, items: Vocabulary, columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    path = dataset.items_path()
    if path is None:
        return
    for rows in read_batches(path, columns):
        is_cold = items.numbers(rows.column(_ITEM_ID)) == 0
        yield rows.filter(pa.array(is_cold))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: times as seconds since 1970 UTC."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return value if isinstance(value, bool | int | float | str) else str(value)
