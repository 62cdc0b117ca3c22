"""One large file -> pieces that several tasks read at the same time; how many shards it needs.

A text is read once to hash it, which finds on the way where records end. The reports of the pieces
become one in `raysys.logs.joining`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from raysys.logs.columnar import open_parquet
from raysys.logs.formats import JsonFormat, LineFormat, ParquetFormat
from raysys.logs.records import CHUNK_BYTES, Readable, cut_records
from raysys.logs.source import Extent, Source

PIECE_BYTES = (8 << 20, 32 << 20)
"""How much one task reads, at least and at most: the most is near a full sorted run, the least is
still much more work than a task costs."""

_LEAST_PIECES = 4  # of a file that is divided, so that several processors have work

ROWS_PER_SHARD = 2_000_000
LEAST_SHARDS, MOST_SHARDS = 8, 4096

_BYTES_PER_ROW = {"text": 40, "json": 100, "packed": 12, "parquet": 12}


@dataclass(frozen=True, slots=True)
class Division:
    """A source's hash, if it was read for that, and the extents to be read apart, in order."""

    source_file: int
    sha256: str | None
    extents: tuple[Extent, ...]


def is_divisible(source: Source) -> bool:
    """Say whether a source is large enough to be divided, and of a format that can be.

    A gzip file cannot be read from its middle.
    """
    is_known = isinstance(source.format, LineFormat | ParquetFormat) and not source.is_packed
    return is_known and source.num_bytes >= 2 * PIECE_BYTES[0]


def divide(source: Source, source_file: int) -> Division:
    """Hash a source and find its pieces.

    Raises:
        SourceError: it cannot be read to its end, or is not what it was when the import began.
    """
    least, most = PIECE_BYTES
    piece_bytes = min(max(source.num_bytes // _LEAST_PIECES, least), most)
    if isinstance(source.format, LineFormat):
        sha256, ends = _ends_of_records(source, source.format, piece_bytes)
    else:
        sha256, ends = source.sha256(), _ends_of_row_groups(source)
    source.check_unchanged()
    extents = tuple(Extent(start, end) for start, end in pairwise(_borders(ends, piece_bytes)))
    return Division(source_file, sha256, extents)


def _ends_of_records(
    source: Source, line_format: LineFormat, piece_bytes: int
) -> tuple[str, list[tuple[int, int]]]:
    """Return a text's hash, and some of the places where a record ends, as (place, bytes)."""
    digest = hashlib.sha256()
    chunk_bytes = min(CHUNK_BYTES, piece_bytes // 4)  # ends near the borders wanted
    with source.open() as file:
        hashed = _Hashed(file, digest)
        pieces = cut_records(hashed, line_format.dialect, chunk_bytes=chunk_bytes)
        ends = [(piece.end, piece.end) for piece in pieces]
    return digest.hexdigest(), ends


def _ends_of_row_groups(source: Source) -> list[tuple[int, int]]:
    """Return for each row group of a Parquet file its place + 1, and the bytes up to its end."""
    with open_parquet(source) as file:
        groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
    sizes = accumulate(group.total_byte_size for group in groups)
    return list(enumerate(sizes, start=1))


def num_shards_for(sources: Sequence[Source]) -> int:
    """Return how many shards a dataset of these sources should have: some 2 million rows in each.

    It follows from the sizes of the files alone, so that it is the same on every cluster.
    """
    rows = sum(source.num_bytes / _bytes_per_row(source) for source in sources)
    return min(max(round(rows / ROWS_PER_SHARD), LEAST_SHARDS), MOST_SHARDS)


def _bytes_per_row(source: Source) -> int:
    if source.is_packed:
        return _BYTES_PER_ROW["packed"]
    if isinstance(source.format, ParquetFormat):
        return _BYTES_PER_ROW["parquet"]
    return _BYTES_PER_ROW["json" if isinstance(source.format, JsonFormat) else "text"]


def _borders(ends: Sequence[tuple[int, int]], piece_bytes: int) -> list[int]:
    """Return 0 and those places, of (place, bytes up to it), that leave a piece between them.

    The last place is always one of them, with half a piece before it at least.
    """
    borders, bytes_before = [0], 0
    for place, num_bytes in ends:
        if num_bytes - bytes_before >= piece_bytes:
            borders.append(place)
            bytes_before = num_bytes
    if ends and borders[-1] != ends[-1][0]:
        if len(borders) > 1 and ends[-1][1] - bytes_before < piece_bytes // 2:
            borders.pop()  # what is left is too small to be a piece
        borders.append(ends[-1][0])
    return borders


class _Hashed:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: Readable, digest: "hashlib._Hash") -> None:
        self._file = file
        self._digest = digest

    def read(self, num_bytes: int, /) -> bytes:
        data = self._file.read(num_bytes)
        self._digest.update(data)
        return data
