"""A world's tables as files, CSV without quotes or Parquet: the same tables, the same bytes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FileFormat = Literal["csv", "parquet"]

_ROWS_ONLY = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")


def write_tables(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], file_format: FileFormat
) -> int:
    """Write tables of one schema into one file, as they come, and return their number of rows."""
    write = _write_csv if file_format == "csv" else _write_parquet
    return write(path, schema, tables)


def _write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with path.open("wb") as file:
        file.write(",".join(schema.names).encode() + b"\n")
        with pyarrow.csv.CSVWriter(file, schema, write_options=_ROWS_ONLY) as writer:
            for table in tables:
                writer.write_table(table)
                rows += table.num_rows
    return rows


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows
