"""One column as read -> one column that can be trusted, and per row a reason where it cannot.

Pure and vectorised: Arrow arrays in, Arrow arrays and small integers out. Text columns arrive as
binary, since a text file's bytes need not be UTF-8; columns of typed sources arrive as they are.
A row's code is 0 where its value is fine, else 1 + the position of the reason in `Reason`.
"""

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.logs.reasons import MAX_ID_LENGTH, Reason

Codes = NDArray[np.uint8]

FIRST_REFUSED_SECOND = 4_102_444_800
"""2100-01-01 UTC. What lies there is milliseconds, not a time."""

_FIRST_LIKELY_SECOND = 100_000_000  # in 1973; no log is older

_WHITE_SPACE = b" \t\r\n\v\f"
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_FLOAT_ID = r"^[+-]?[0-9]+\.[0-9]+$"
_REASONS = list(Reason)
_NO_TEXT = pa.scalar(None, pa.string())


def code_of(reason: Reason) -> int:
    """Return the code of a reason."""
    return _REASONS.index(reason) + 1


def reason_of(code: int) -> Reason:
    """Return the reason behind a code other than 0."""
    return _REASONS[code - 1]


def parse_ids(column: pa.Array, *, is_text: bool) -> tuple[pa.StringArray, Codes]:
    """Return ids as strings, exactly as they stand: white space around an id is part of it.

    Integers become their decimal digits. Floating-point numbers are refused, and so are texts that
    look like one (12.0) where the source has no types; an id of a typed text column may look so.
    """
    if pa.types.is_floating(column.type):
        missing = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        codes = np.where(missing, code_of(Reason.NULL_ID), code_of(Reason.FLOAT_ID))
        return pa.nulls(len(column), pa.string()), codes.astype(np.uint8)
    ids, codes = _parse_text(column)
    _mark(codes, pc.is_null(column), Reason.NULL_ID)
    if pa.types.is_integer(column.type):
        return ids, codes
    _mark(codes, pc.equal(pc.binary_length(ids), 0), Reason.EMPTY_ID)
    if any(_holds(ids, value) for value in _WHITE_SPACE) or not _is_ascii(ids):
        _mark(codes, pc.utf8_is_space(ids), Reason.EMPTY_ID)
    _mark_too_long(codes, ids, Reason.ID_TOO_LONG)
    if is_text and _holds(ids, ord(".")):
        _mark(codes, pc.match_substring_regex(ids, _FLOAT_ID), Reason.FLOAT_ID)
    return ids, codes


def parse_event_types(column: pa.Array) -> tuple[pa.StringArray, Codes]:
    """Return event types as strings; an empty one is null."""
    texts, codes = _parse_text(column)
    texts = pc.if_else(pc.equal(pc.binary_length(texts), 0), _NO_TEXT, texts)
    _mark_too_long(codes, texts, Reason.EVENT_TYPE_TOO_LONG)
    return texts, codes


def parse_event_ids(column: pa.Array, *, is_text: bool) -> tuple[pa.StringArray, Codes]:
    """Return event ids as strings; one that is missing or empty is null, and no fault."""
    ids, codes = parse_ids(column, is_text=is_text)
    is_absent = np.isin(codes, [code_of(Reason.NULL_ID), code_of(Reason.EMPTY_ID)])
    codes[is_absent] = 0
    return pc.if_else(pa.array(is_absent), _NO_TEXT, ids), codes


def parse_times(column: pa.Array) -> tuple[pa.Int64Array, Codes]:
    """Return microseconds since 1970-01-01 UTC.

    Numbers are seconds; a fraction is kept to the microsecond. Arrow timestamps are taken as they
    are, those without a zone as UTC.
    """
    codes = np.zeros(len(column), np.uint8)
    _mark(codes, pc.is_null(column), Reason.NULL_TIMESTAMP)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))  # midnight
    if pa.types.is_timestamp(column.type):
        wide = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        micros = pc.fill_null(wide, 0).to_numpy(zero_copy_only=False)
        return _checked_times(micros, micros / 1e6, codes)
    if _is_number(column.type):
        floats = pc.cast(column, pa.float64(), safe=False)
    else:
        texts, is_bad = _to_text(column)
        codes[is_bad] = code_of(Reason.BAD_TIMESTAMP)
        _mark(codes, pc.equal(pc.binary_length(texts), 0), Reason.NULL_TIMESTAMP)
        floats = _to_floats(texts)
    read = floats.to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(read)
    codes[~is_finite & (codes == 0)] = code_of(Reason.BAD_TIMESTAMP)
    seconds = np.where(is_finite, read, 0.0)
    # Whole seconds stay whole: up to the year 2100 a float64 holds every microsecond.
    micros = np.rint(np.clip(seconds, -1, FIRST_REFUSED_SECOND) * 1e6).astype(np.int64)
    return _checked_times(micros, seconds, codes)


def parse_values(column: pa.Array) -> tuple[pa.DoubleArray, Codes]:
    """Return event values as finite floats; a missing value and NaN are null, and no fault."""
    codes = np.zeros(len(column), np.uint8)
    if _is_number(column.type):
        read = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        is_absent = np.isnan(read)
    else:
        texts, is_bad = _to_text(column)
        read = _to_floats(texts).to_numpy(zero_copy_only=False)
        is_absent = np.isnan(read) & ~is_bad
        if is_absent.any():
            lowered = pc.utf8_lower(pc.ascii_trim_whitespace(texts))
            absent = pc.fill_null(pc.is_in(lowered, pa.array(["", "nan"])), True)
            is_absent &= pc.or_(absent, pc.is_null(texts)).to_numpy(zero_copy_only=False)
    is_bad_value = ~np.isfinite(read) & ~is_absent
    codes[is_bad_value] = code_of(Reason.BAD_EVENT_VALUE)
    return pa.array(read, mask=is_absent | is_bad_value), codes


def unit_hint(seconds: float) -> str:
    """Return what a time beyond the range probably is, as the end of a sentence, or nothing."""
    for unit, factor in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if _FIRST_LIKELY_SECOND <= seconds / factor < FIRST_REFUSED_SECOND:
            return f" It looks like {unit}: divide by {factor:,.0f}."
    return ""


def count_surrounded(ids: pa.StringArray) -> int:
    """Return how many ids begin or end with white space."""
    if not any(_holds(ids, value) for value in _WHITE_SPACE):
        return 0
    return int(pc.sum(pc.not_equal(pc.ascii_trim_whitespace(ids), ids)).as_py() or 0)


def _parse_text(column: pa.Array) -> tuple[pa.StringArray, Codes]:
    texts, is_bad = _to_text(column)
    codes = np.where(is_bad, code_of(Reason.BAD_ENCODING), 0).astype(np.uint8)
    if _holds(texts, 0):
        _mark(codes, pc.match_substring(texts, "\0"), Reason.NUL_BYTE)
    return texts, codes


def _to_text(column: pa.Array) -> tuple[pa.StringArray, NDArray[np.bool_]]:
    """Return the column as strings, null where the bytes are not UTF-8, and where that is."""
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)  # a Parquet column may call itself text and hold other bytes
        return texts, np.zeros(len(column), bool)
    except pa.ArrowInvalid:
        values = [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]
        texts = pa.array(values, pa.string())
        return texts, pc.and_(pc.is_null(texts), pc.is_valid(column)).to_numpy(False)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _to_floats(texts: pa.StringArray) -> pa.DoubleArray:
    """Return the numbers that the texts spell, null or not finite where they spell none."""
    if not any(_holds(texts, letter) for letter in b"xX"):  # Arrow would read 0x1F
        with contextlib.suppress(pa.ArrowInvalid):
            return pc.cast(texts.cast(pa.int64()), pa.float64(), safe=False)
    trimmed = pc.ascii_trim_whitespace(texts)
    is_number = pc.match_substring_regex(trimmed, _DECIMAL)
    return pc.if_else(is_number, trimmed, _NO_TEXT).cast(pa.float64())


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _checked_times(
    micros: NDArray[np.int64], seconds: NDArray[np.number], codes: Codes
) -> tuple[pa.Int64Array, Codes]:
    codes[(seconds < 0) & (codes == 0)] = code_of(Reason.NEGATIVE_TIMESTAMP)
    is_late = (seconds >= FIRST_REFUSED_SECOND) & (codes == 0)
    codes[is_late] = code_of(Reason.TIMESTAMP_OUT_OF_RANGE)
    return pa.array(micros), codes


def _mark(codes: Codes, is_faulty: pa.BooleanArray, reason: Reason) -> None:
    """Give the faulty rows their reason, unless they have one."""
    mask = pc.fill_null(is_faulty, False).to_numpy(zero_copy_only=False)
    codes[mask & (codes == 0)] = code_of(reason)


def _mark_too_long(codes: Codes, texts: pa.StringArray, reason: Reason) -> None:
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > MAX_ID_LENGTH:
        _mark(codes, pc.greater(pc.utf8_length(texts), MAX_ID_LENGTH), reason)


def _bytes_of(texts: pa.StringArray) -> NDArray[np.uint8]:
    """Return the characters of a column, and perhaps some around them: enough to rule one out."""
    buffer = texts.buffers()[2]
    return np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)


def _holds(texts: pa.StringArray, value: int) -> bool:
    """Say whether a byte may occur in the column; False is certain. Cheaper than any pattern."""
    return bool((_bytes_of(texts) == value).any())


def _is_ascii(texts: pa.StringArray) -> bool:
    values = _bytes_of(texts)
    return not len(values) or int(values.max()) < 128
