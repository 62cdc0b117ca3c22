"""The first rows of the sources of one table, column by column, as they stand there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from raysys.logs.catalogue import batches_of
from raysys.logs.layout import undeclared
from raysys.logs.raw import RawBatch
from raysys.logs.schema import Kind
from raysys.logs.source import Source
from raysys.logs.texts import to_text

SAMPLED_ROWS = 10_000
_SAMPLED_SOURCES = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A column of all sources.

    Attributes:
        key: the name that counts: in small letters, and the column's own where that was told.
        name: as it is written.
        values: those of the sample.
    """

    key: str
    name: str
    values: pa.Array


def sample_columns(
    sources: Sequence[Source], kind: Kind, called: Mapping[str, str]
) -> tuple[list[Column], list[str]]:
    """Return the columns that all sources have, and the names of those that only some have.

    The required columns come first. Values are those of the first rows of the first sources.

    Args:
        called: what columns are called in the sources, where that is told.

    Raises:
        SourceError: a source cannot be read, or lacks a required column.
    """
    layout = replace(undeclared(kind, called), takes_all=True)
    written: dict[str, str] = {}
    found: list[dict[str, list[pa.Array]]] = []
    for number, source in enumerate(sources):
        header, _, batches = batches_of(source, layout)
        for key, place in header.positions.items():
            written.setdefault(key, header.names[place])
        values: dict[str, list[pa.Array]] = {key: [] for key in header.positions}
        if number < _SAMPLED_SOURCES:
            for batch in _first(batches, SAMPLED_ROWS // min(len(sources), _SAMPLED_SOURCES)):
                for key in values:
                    values[key].append(batch[key])
        found.append(values)
    common = [key for key in found[0] if all(key in one for one in found)]
    columns = [
        Column(key, written[key], _joined([piece for one in found for piece in one[key]]))
        for key in common
    ]
    return columns, [name for key, name in written.items() if key not in common]


def _first(batches: Iterable[RawBatch], num_rows: int) -> Iterator[dict[str, pa.Array]]:
    for batch in batches:
        yield {key: column.slice(0, num_rows) for key, column in batch.columns.items()}
        num_rows -= len(batch.rows)
        if num_rows <= 0:
            return


def _joined(pieces: Sequence[pa.Array]) -> pa.Array:
    """Return the pieces as one, text as strings; as texts if they are not of one type."""
    is_binary = any(
        pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type) for one in pieces
    )
    if is_binary or len({str(one.type) for one in pieces}) > 1:
        pieces = [to_text(one)[0] for one in pieces]
    return pa.concat_arrays(pieces) if pieces else pa.nulls(0)
