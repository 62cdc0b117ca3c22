"""Parquet files of a dataset, read piece by piece."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import DatasetError

BATCH_ROWS = 1 << 16


def read_batches(
    path: Path | str, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Yield the rows of a file, some at a time; each column of a piece is one chunk.

    Args:
        columns: None: all of them.

    Raises:
        DatasetError: the file cannot be read.
    """
    with _opened(path) as file:
        for batch in file.iter_batches(batch_rows, columns=columns and list(columns)):
            yield pa.Table.from_batches([batch])


def read_schema(path: Path) -> pa.Schema:
    """Return the columns of a file (DatasetError: it cannot be read)."""
    with _opened(path) as file:
        return file.schema_arrow


@contextmanager
def _opened(path: Path | str) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}. The dataset is damaged; copy it or import the log "
            f"again."
        ) from error
