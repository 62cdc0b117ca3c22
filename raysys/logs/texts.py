"""What the parsers of columns share: texts, numbers in texts, and a code per row for what is wrong.

Text columns arrive as binary, since a text file's bytes need not be UTF-8. A row's code is 0 where
its value is fine, else 1 + the position of the reason in `Reason`.
"""

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.logs.reasons import Reason

Codes = NDArray[np.uint8]

NO_TEXT = pa.scalar(None, pa.string())

_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_REASONS = list(Reason)


def code_of(reason: Reason) -> int:
    """Return the code of a reason."""
    return _REASONS.index(reason) + 1


def reason_of(code: int) -> Reason:
    """Return the reason behind a code other than 0."""
    return _REASONS[code - 1]


def mark(codes: Codes, is_faulty: pa.BooleanArray, reason: Reason) -> None:
    """Give the faulty rows their reason, unless they have one."""
    mask = pc.fill_null(is_faulty, False).to_numpy(zero_copy_only=False)
    codes[mask & (codes == 0)] = code_of(reason)


def mark_longer(codes: Codes, texts: pa.StringArray, most: int, reason: Reason) -> None:
    """Give texts of more than `most` characters a reason."""
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > most:
        mark(codes, pc.greater(pc.utf8_length(texts), most), reason)


def parse_text(column: pa.Array) -> tuple[pa.StringArray, Codes]:
    """Return a column as strings; bytes that are not UTF-8 and NUL bytes are faults."""
    texts, is_bad = to_text(column)
    codes = np.where(is_bad, code_of(Reason.BAD_ENCODING), 0).astype(np.uint8)
    if holds(texts, 0):
        mark(codes, pc.match_substring(texts, "\0"), Reason.NUL_BYTE)
    return texts, codes


def to_text(column: pa.Array) -> tuple[pa.StringArray, NDArray[np.bool_]]:
    """Return the column as strings, null where the bytes are not UTF-8, and where that is."""
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)  # a Parquet column may call itself text and hold other bytes
        return texts, np.zeros(len(column), bool)
    except pa.ArrowInvalid:
        values = [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
        texts = pa.array(values, pa.string())
        return texts, pc.and_(pc.is_null(texts), pc.is_valid(column)).to_numpy(False)


def to_floats(texts: pa.StringArray) -> pa.DoubleArray:
    """Return the numbers that the texts spell, null or not finite where they spell none."""
    if not any(holds(texts, letter) for letter in b"xX"):  # Arrow would read 0x1F
        with contextlib.suppress(pa.ArrowInvalid):
            return pc.cast(texts.cast(pa.int64()), pa.float64(), safe=False)
    trimmed = pc.ascii_trim_whitespace(texts)
    is_spelled = pc.match_substring_regex(trimmed, _DECIMAL)
    return pc.if_else(is_spelled, trimmed, NO_TEXT).cast(pa.float64())


def is_number(kind: pa.DataType) -> bool:
    """Say whether values of an Arrow type are numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def holds(texts: pa.StringArray, value: int) -> bool:
    """Say whether a byte may occur in the column; False is certain. Cheaper than any pattern."""
    return bool((_bytes_of(texts) == value).any())


def is_ascii(texts: pa.StringArray) -> bool:
    """Say whether all texts are plain ASCII; False may also mean that what lies around is not."""
    values = _bytes_of(texts)
    return not len(values) or int(values.max()) < 128


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _bytes_of(texts: pa.StringArray) -> NDArray[np.uint8]:
    """Return the characters of a column, and perhaps some around them: enough to rule one out."""
    buffer = texts.buffers()[2]
    return np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)
