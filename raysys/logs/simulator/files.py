"""A world's tables as files, CSV without quotes or Parquet: the same tables, the same bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FileFormat = Literal["csv", "parquet"]

_ROWS_ONLY = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")


@contextmanager
def table_writer(
    path: Path, schema: pa.Schema, file_format: FileFormat
) -> Iterator[Callable[[pa.Table], None]]:
    """Open a file for the block, which calls what it is given with one table after the other."""
    if file_format == "parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer.write_table
        return
    with path.open("wb") as file:
        file.write(",".join(schema.names).encode() + b"\n")
        with pyarrow.csv.CSVWriter(file, schema, write_options=_ROWS_ONLY) as writer:
            yield writer.write_table
