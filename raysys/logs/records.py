"""Bytes of a delimited text file, cut into whole records; broken ones are set aside, not fatal.

A record is what a CSV reader calls a row: it ends at a line feed, a carriage return or both,
unless that stands between quotation marks. Empty lines are no records. The cut follows the rules
of pyarrow's CSV parser exactly: a quotation mark opens a quoted field only as the field's first
character, is doubled to stand for itself, and is an ordinary character elsewhere.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from raysys.logs.reasons import Reason

CHUNK_BYTES = 8 << 20
MAX_RECORD_BYTES = 4 << 20
"""A record that has not ended after so many bytes is broken; it bounds the memory of a reader."""

_KEPT_OF_A_LONG_ROW = 64 << 10
_LINE = re.compile(rb"([^\r\n]+)")
_QUOTE, _LINE_FEED, _CARRIAGE_RETURN = 0x22, 0x0A, 0x0D


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text file separates its columns. `delimiter` is one ASCII character."""

    delimiter: str
    is_quoted: bool


@dataclass(frozen=True, slots=True)
class Records:
    """Whole records, one after the other; `end` is where in the file they end."""

    data: bytes
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """One record that has no end; for an unclosed quote, its first line alone.

    `end` is where in the file reading goes on.
    """

    reason: Reason
    data: bytes
    end: int = field(default=0, compare=False)


class Readable(Protocol):
    """What can be read from its start to its end."""

    def read(self, num_bytes: int, /) -> bytes:
        """Return the next bytes, none at the end."""


def cut_records(
    file: Readable,
    dialect: Dialect,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    max_record_bytes: int = MAX_RECORD_BYTES,
    is_start: bool = True,
) -> Iterator[Records | Broken]:
    """Yield the records of a file in order, in pieces of about `chunk_bytes`.

    A quotation mark that is never closed costs its line, not the rest of the file: the line comes
    out as broken and reading goes on behind it. A byte order mark is dropped where `is_start`.
    """
    counted = _Counted(file, chunk_bytes)
    rest = b""
    while chunk := counted.read():
        if is_start:
            chunk, is_start = chunk.removeprefix(b"\xef\xbb\xbf"), False
        rest = yield from _whole_records(rest + chunk, dialect, counted, False)
        while len(rest) > max_record_bytes:
            rest = yield from _break_one(rest, dialect, counted)
            rest = yield from _whole_records(rest, dialect, counted, False)
    while rest:
        rest = yield from _whole_records(rest, dialect, counted, True)
        if rest:
            rest = yield from _break_one(rest, dialect, counted)


def split_records(data: bytes, dialect: Dialect) -> list[bytes]:
    """Return each record of a piece that `cut_records` gave, without its line end."""
    if not dialect.is_quoted or b'"' not in data:
        return [line for line in data.splitlines() if line]
    pattern = _record_pattern(dialect.delimiter)
    return [match[1] for match in pattern.finditer(data) if match[1]]


def find_first(data: bytes, dialect: Dialect) -> tuple[int, int]:
    """Return where the first record of a piece starts and ends; (0, 0) when it has none."""
    pattern = _record_pattern(dialect.delimiter) if dialect.is_quoted else _LINE
    return next((match.span(1) for match in pattern.finditer(data) if match[1]), (0, 0))


class _Counted:
    """A file read in chunks, and how many bytes of it were read."""

    def __init__(self, file: Readable, chunk_bytes: int) -> None:
        self.num_bytes = 0
        self._file = file
        self._chunk_bytes = chunk_bytes

    def read(self) -> bytes:
        chunk = self._file.read(self._chunk_bytes)
        self.num_bytes += len(chunk)
        return chunk


def _whole_records(
    buffer: bytes, dialect: Dialect, file: _Counted, is_end: bool
) -> Generator[Records, None, bytes]:
    """Yield what is complete, return what is not. What follows `buffer` is not yet read."""
    end, is_inside_quotes = find_last_end(buffer, dialect)
    if is_end and not is_inside_quotes:
        end = len(buffer)
    if end:
        yield Records(buffer[:end], file.num_bytes - len(buffer) + end)
    return buffer[end:]


def _break_one(rest: bytes, dialect: Dialect, file: _Counted) -> Generator[Broken, None, bytes]:
    """Yield the first line of an endless record as broken, return what follows that line."""
    _, is_inside_quotes = find_last_end(rest, dialect)
    reason = Reason.UNCLOSED_QUOTE if is_inside_quotes else Reason.ROW_TOO_LONG
    line, following = _split_line(rest)
    while following is None and (chunk := file.read()):  # the line itself is longer
        _, following = _split_line(chunk)
    following = following or b""
    yield Broken(reason, line[:_KEPT_OF_A_LONG_ROW], file.num_bytes - len(following))
    return following


def _split_line(data: bytes) -> tuple[bytes, bytes | None]:
    """Return the first line without its end, and what follows; None when no line ends here."""
    match = re.search(rb"[\r\n]", data)
    return (data[: match.start()], data[match.end() :]) if match else (data, None)


def find_last_end(buffer: bytes, dialect: Dialect) -> tuple[int, bool]:
    """Return where the last complete record ends, and whether a quoted field is open at the end.

    `buffer` starts at the start of a record; 0 means that no record in it is complete.
    """
    if not dialect.is_quoted or b'"' not in buffer:
        return _last_line_end(buffer, 0, len(buffer)), False
    values = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(values == _QUOTE)
    openings, closings = quotes[0::2], quotes[1::2]
    before = values[openings - 1]
    starts_field = before == ord(dialect.delimiter)
    starts_field |= (before == _LINE_FEED) | (before == _CARRIAGE_RETURN)
    starts_field[0] |= openings[0] == 0
    starts_field[1:] |= openings[1:] == closings[: len(openings) - 1] + 1  # a doubled quote
    if not starts_field.all():  # somewhere a quote is an ordinary character
        return _find_last_end_slowly(buffer, dialect)
    is_inside = len(openings) > len(closings)
    for place in range(len(closings), -1, -1):  # the gap before quoted field number `place`
        start = int(closings[place - 1]) + 1 if place else 0
        end = int(openings[place]) if place < len(openings) else len(buffer)
        if line_end := _last_line_end(buffer, start, end):
            return line_end, is_inside
    return 0, is_inside


def _last_line_end(buffer: bytes, start: int, end: int) -> int:
    return max(buffer.rfind(b"\n", start, end), buffer.rfind(b"\r", start, end)) + 1


def _find_last_end_slowly(buffer: bytes, dialect: Dialect) -> tuple[int, bool]:
    """The same by a pattern that reads every field: about 30 MB/s, for files with odd quotes."""
    end = 0
    is_complete = False
    for match in _record_pattern(dialect.delimiter).finditer(buffer):
        if match.start() != end:
            break  # what was skipped is a quoted field without an end
        is_complete = match.end() > match.end(1)  # else the file, not the line, ended it
        if not is_complete:
            return end, False
        end = match.end()
    return end, end < len(buffer)


def _record_pattern(delimiter: str) -> re.Pattern[bytes]:
    separator = re.escape(delimiter).encode()
    field = rb'(?:"(?:[^"]|"")*+"[^S\r\n]*+|[^"S\r\n][^S\r\n]*+|)'.replace(b"S", separator)
    return re.compile(rb"(" + field + rb"(?:" + separator + field + rb")*+)(?:\r\n|\n|\r|\Z)")
