"""A Parquet file whose columns may change their type while it is written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raysys import storage
from raysys.logs.database_values import cast, common_type

_BATCH_ROWS = 64 << 10


class GrowingParquet:
    """Writes tables whose columns may still change their type, into one file of one schema.

    While the type of every column holds, rows go straight to the file. Where one grows, another
    file is begun, and at the end they become one: a second pass that most results do not need.

    Use it in a `with` block, and write at least once.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._pieces: list[Path] = []
        self._schema = pa.schema([])
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "GrowingParquet":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close_piece()
        if kind is None:
            self._join_pieces()

    def write(self, table: pa.Table) -> None:
        grown = _grown(self._schema, table.schema) if self._pieces else table.schema
        if self._writer is None or grown != self._schema:
            self._close_piece()
            piece = self._target.with_name(f"{self._target.stem}-{len(self._pieces)}.piece")
            self._pieces.append(piece)
            self._schema = grown
            self._writer = pq.ParquetWriter(piece, grown, compression="zstd")
        self._writer.write_table(_cast(table, grown))

    def _join_pieces(self) -> None:
        if len(self._pieces) == 1:
            self._pieces[0].rename(self._target)
            return
        with pq.ParquetWriter(self._target, self._schema, compression="zstd") as writer:
            for piece in self._pieces:
                with pq.ParquetFile(piece) as file:
                    for batch in file.iter_batches(_BATCH_ROWS):
                        writer.write_table(_cast(pa.Table.from_batches([batch]), self._schema))
                storage.remove_file(piece)

    def _close_piece(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _grown(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.schema(
        [
            pa.field(field.name, common_type(field.type, other.field(place).type))
            for place, field in enumerate(schema)
        ]
    )


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [cast(table.column(place), field.type) for place, field in enumerate(schema)]
    return pa.table(columns, schema=schema)
