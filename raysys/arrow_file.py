"""One Arrow IPC file of one record batch, mapped into memory when it is opened.

Vocabularies and histories are such files; a kind in the file's metadata tells them apart, so that
one is never taken for the other. What is larger than memory is written piece by piece into
`NumbersOnDisk` and `TextsOnDisk`, whose columns are then saved from the disk. A column of texts is
`string` in the schema, and `large_string` in a file that holds more than 2 GiB of them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.errors import DatasetError

LARGEST_STRING_BYTES = 2**31 - 1
"""Of all texts of one `string` array; its offsets are 32 bits wide."""

_FORMAT = "1"


def save(
    path: Path, kind: str, schema: pa.Schema, columns: Sequence[pa.Array], **notes: str
) -> None:
    """Write the columns as one record batch; `notes` travel in the schema's metadata."""
    schema = _as_found(schema, [column.type for column in columns])
    schema = schema.with_metadata({"raysys.kind": kind, "raysys.format": _FORMAT, **notes})
    batch = pa.RecordBatch.from_arrays(list(columns), schema=schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)


def open(path: Path, kind: str, *schemas: pa.Schema) -> tuple[pa.RecordBatch, dict[str, str]]:
    """Map the file and return its record batch and its notes; nothing of the columns is read.

    Args:
        schemas: those that a file of this kind may have.

    Raises:
        DatasetError: the file is missing, cut short, of another kind, format or schema.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        notes = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        fits = (
            notes.get("raysys.kind") == kind
            and notes.get("raysys.format") == _FORMAT
            and any(reader.schema.equals(_as_found(s, reader.schema.types)) for s in schemas)
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


class NumbersOnDisk:
    """A column of numbers without nulls, written from its beginning to its end."""

    def __init__(self, path: Path, kind: pa.DataType) -> None:
        self._path = path
        self._kind = kind
        self._length = 0
        path.write_bytes(b"")

    def append(self, values: NDArray[np.generic]) -> None:
        """Write values, whose dtype is that of the column."""
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(values).view(np.uint8).data)
        self._length += len(values)

    def column(self) -> pa.Array:
        """Return what was written, mapped into memory."""
        return pa.Array.from_buffers(self._kind, self._length, [None, _mapped(self._path)])


class TextsOnDisk:
    """A column of texts without nulls, written from its beginning to its end.

    Args:
        num_bytes: of all texts together; decides how wide the offsets are.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self._is_large = num_bytes > LARGEST_STRING_BYTES
        self._path = path
        path.write_bytes(b"")
        width = pa.int64() if self._is_large else pa.int32()
        self._offsets = NumbersOnDisk(path.with_name(f"{path.name}.offsets"), width)
        self._offsets.append(np.zeros(1, self._dtype))
        self._end = 0

    def append(self, texts: pa.StringArray) -> None:
        """Write texts, which hold no null."""
        offsets, characters = _parts_of(texts)
        with self._path.open("ab") as file:
            file.write(memoryview(characters)[offsets[0] : offsets[-1]])
        self._offsets.append((offsets[1:] - offsets[0] + self._end).astype(self._dtype))
        self._end += int(offsets[-1] - offsets[0])

    def column(self) -> pa.StringArray:
        """Return what was written, mapped into memory."""
        offsets = self._offsets.column()
        kind = pa.large_string() if self._is_large else pa.string()
        buffers = [None, offsets.buffers()[1], _mapped(self._path)]
        return pa.Array.from_buffers(kind, len(offsets) - 1, buffers)

    @property
    def _dtype(self) -> type[np.signedinteger]:
        return np.int64 if self._is_large else np.int32


def num_bytes_of(texts: pa.StringArray) -> int:
    """Return how many bytes the texts of an array have together; it holds no null."""
    offsets, _ = _parts_of(texts)
    return int(offsets[-1] - offsets[0])


def _parts_of(texts: pa.StringArray) -> tuple[NDArray[np.int64], pa.Buffer]:
    """Return where the texts begin and end in a buffer, (N + 1,), and the buffer."""
    _, offsets, characters = texts.buffers()
    if not len(texts) or offsets is None:
        return np.zeros(1, np.int64), pa.py_buffer(b"")
    dtype = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    found = np.frombuffer(offsets, dtype)[texts.offset : texts.offset + len(texts) + 1]
    return found.astype(np.int64), characters or pa.py_buffer(b"")


def _mapped(path: Path) -> pa.Buffer:
    with pa.memory_map(str(path)) as file:  # the buffer keeps the mapping
        return file.read_buffer() if file.size() else pa.py_buffer(b"")


def _as_found(schema: pa.Schema, types: Sequence[pa.DataType]) -> pa.Schema:
    """Return the schema with its texts as wide as they were found."""
    if len(types) != len(schema):
        return schema
    fields = [
        field.with_type(found)
        if pa.types.is_string(field.type) and pa.types.is_large_string(found)
        else field
        for field, found in zip(schema, types, strict=True)
    ]
    return pa.schema(fields)
