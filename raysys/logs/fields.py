"""One column as read -> one column that can be trusted, and per row a reason where it cannot.

Pure and vectorised: Arrow arrays in, Arrow arrays and small integers out, see `raysys.logs.texts`.
Here are the columns whose meaning is raysys' own; `raysys.logs.metadata` has the others.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.logs.reasons import MAX_ID_LENGTH, Reason
from raysys.logs.texts import (
    NO_TEXT,
    Codes,
    code_of,
    holds,
    is_ascii,
    is_number,
    mark,
    mark_longer,
    parse_text,
    to_floats,
    to_text,
)

FIRST_REFUSED_SECOND = 4_102_444_800
"""2100-01-01 UTC. What lies there is milliseconds, not a time."""

_FIRST_LIKELY_SECOND = 100_000_000  # in 1973; no log is older

_WHITE_SPACE = b" \t\r\n\v\f"
_FLOAT_ID = r"^[+-]?[0-9]+\.[0-9]+$"


def parse_ids(column: pa.Array, *, is_text: bool) -> tuple[pa.StringArray, Codes]:
    """Return ids as strings, exactly as they stand: white space around an id is part of it.

    Integers become their decimal digits. Floating-point numbers are refused, and so are texts that
    look like one (12.0) where the source has no types; an id of a typed text column may look so.
    """
    if pa.types.is_floating(column.type):
        missing = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        codes = np.where(missing, code_of(Reason.NULL_ID), code_of(Reason.FLOAT_ID))
        return pa.nulls(len(column), pa.string()), codes.astype(np.uint8)
    ids, codes = parse_text(column)
    mark(codes, pc.is_null(column), Reason.NULL_ID)
    if pa.types.is_integer(column.type):
        return ids, codes
    mark(codes, pc.equal(pc.binary_length(ids), 0), Reason.EMPTY_ID)
    if any(holds(ids, value) for value in _WHITE_SPACE) or not is_ascii(ids):
        mark(codes, pc.utf8_is_space(ids), Reason.EMPTY_ID)
    mark_longer(codes, ids, MAX_ID_LENGTH, Reason.ID_TOO_LONG)
    if is_text and holds(ids, ord(".")):
        mark(codes, pc.match_substring_regex(ids, _FLOAT_ID), Reason.FLOAT_ID)
    return ids, codes


def parse_event_types(column: pa.Array) -> tuple[pa.StringArray, Codes]:
    """Return event types as strings; an empty one is null."""
    texts, codes = parse_text(column)
    texts = pc.if_else(pc.equal(pc.binary_length(texts), 0), NO_TEXT, texts)
    mark_longer(codes, texts, MAX_ID_LENGTH, Reason.EVENT_TYPE_TOO_LONG)
    return texts, codes


def parse_event_ids(column: pa.Array, *, is_text: bool) -> tuple[pa.StringArray, Codes]:
    """Return event ids as strings; one that is missing or empty is null, and no fault."""
    ids, codes = parse_ids(column, is_text=is_text)
    is_absent = np.isin(codes, [code_of(Reason.NULL_ID), code_of(Reason.EMPTY_ID)])
    codes[is_absent] = 0
    return pc.if_else(pa.array(is_absent), NO_TEXT, ids), codes


def parse_times(column: pa.Array) -> tuple[pa.Int64Array, Codes]:
    """Return microseconds since 1970-01-01 UTC.

    Numbers are seconds; a fraction is kept to the microsecond. Arrow timestamps are taken as they
    are, those without a zone as UTC.
    """
    codes = np.zeros(len(column), np.uint8)
    mark(codes, pc.is_null(column), Reason.NULL_TIMESTAMP)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))  # midnight
    if pa.types.is_timestamp(column.type):
        wide = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        micros = pc.fill_null(wide, 0).to_numpy(zero_copy_only=False)
        return _checked_times(micros, micros / 1e6, codes)
    if is_number(column.type):
        floats = pc.cast(column, pa.float64(), safe=False)
    else:
        texts, is_bad = to_text(column)
        codes[is_bad] = code_of(Reason.BAD_TIMESTAMP)
        mark(codes, pc.equal(pc.binary_length(texts), 0), Reason.NULL_TIMESTAMP)
        floats = to_floats(texts)
    read = floats.to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(read)
    codes[~is_finite & (codes == 0)] = code_of(Reason.BAD_TIMESTAMP)
    seconds = np.where(is_finite, read, 0.0)
    # Whole seconds stay whole: up to the year 2100 a float64 holds every microsecond.
    micros = np.rint(np.clip(seconds, -1, FIRST_REFUSED_SECOND) * 1e6).astype(np.int64)
    return _checked_times(micros, seconds, codes)


def parse_numbers(column: pa.Array, fault: Reason) -> tuple[pa.DoubleArray, Codes]:
    """Return finite floats; a missing value and NaN are null. `fault` is of what is no number."""
    codes = np.zeros(len(column), np.uint8)
    if is_number(column.type):
        read = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        is_absent = np.isnan(read)
    else:
        texts, is_bad = to_text(column)
        read = to_floats(texts).to_numpy(zero_copy_only=False)
        is_absent = np.isnan(read) & ~is_bad
        if is_absent.any():
            lowered = pc.utf8_lower(pc.ascii_trim_whitespace(texts))
            absent = pc.fill_null(pc.is_in(lowered, pa.array(["", "nan"])), True)
            is_absent &= pc.or_(absent, pc.is_null(texts)).to_numpy(zero_copy_only=False)
    is_bad_number = ~np.isfinite(read) & ~is_absent
    codes[is_bad_number] = code_of(fault)
    return pa.array(read, mask=is_absent | is_bad_number), codes


def unit_hint(seconds: float) -> str:
    """Return what a time beyond the range probably is, as the end of a sentence, or nothing."""
    for unit, factor in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if _FIRST_LIKELY_SECOND <= seconds / factor < FIRST_REFUSED_SECOND:
            return f" It looks like {unit}: divide by {factor:,.0f}."
    return ""


def count_surrounded(ids: pa.StringArray) -> int:
    """Return how many ids begin or end with white space."""
    if not any(holds(ids, value) for value in _WHITE_SPACE):
        return 0
    return int(pc.sum(pc.not_equal(pc.ascii_trim_whitespace(ids), ids)).as_py() or 0)


def _checked_times(
    micros: NDArray[np.int64], seconds: NDArray[np.number], codes: Codes
) -> tuple[pa.Int64Array, Codes]:
    codes[(seconds < 0) & (codes == 0)] = code_of(Reason.NEGATIVE_TIMESTAMP)
    is_late = (seconds >= FIRST_REFUSED_SECOND) & (codes == 0)
    codes[is_late] = code_of(Reason.TIMESTAMP_OUT_OF_RANGE)
    return pa.array(micros), codes
