"""One Arrow IPC file of one record batch, mapped into memory when it is opened.

Only the dataset room's own formats (vocabulary, histories) use this; a kind in the file's metadata
tells them apart, so that one is never taken for the other.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from raysys.errors import DatasetError

_FORMAT = "1"


def save(
    path: Path, kind: str, schema: pa.Schema, columns: Sequence[pa.Array], **notes: str
) -> None:
    """Write the columns as one record batch; `notes` travel in the schema's metadata."""
    schema = schema.with_metadata({"raysys.kind": kind, "raysys.format": _FORMAT, **notes})
    batch = pa.RecordBatch.from_arrays(list(columns), schema=schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)


def open(path: Path, kind: str, schema: pa.Schema) -> tuple[pa.RecordBatch, dict[str, str]]:
    """Map the file and return its record batch and its notes; nothing of the columns is read.

    Raises:
        DatasetError: the file is missing, cut short, of another kind, format or schema.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        notes = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        fits = (
            notes.get("raysys.kind") == kind
            and notes.get("raysys.format") == _FORMAT
            and reader.schema.equals(schema)
            and reader.num_record_batches == 1
        )
        batch = reader.get_batch(0) if fits else None
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be opened as {kind}: {error}. It is missing, was cut short while it "
            f"was written or copied, or is no Arrow file. Copy or build it again."
        ) from error
    if batch is None:
        raise DatasetError(
            f"{path} is not a {kind} file of format {_FORMAT}: it says kind "
            f"{notes.get('raysys.kind')!r}, format {notes.get('raysys.format')!r}. Pass the file "
            f"that this version of raysys wrote, or build it again."
        )
    return batch, notes
