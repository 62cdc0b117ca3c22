"""Columns of which only the schema knows what they hold -> values of the declared type, and faults.

As in `raysys.logs.fields`, a row's code says what is wrong with its value. A missing value is null,
and so are an empty text and, for numbers, NaN; whether null is allowed is judged at the end.
"""

import contextlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.logs.fields import parse_numbers
from raysys.logs.reasons import MAX_VALUE_LENGTH, Reason
from raysys.logs.schema import IMPRESSION, Field, ValueType
from raysys.logs.texts import (
    NO_TEXT,
    Codes,
    code_of,
    holds,
    is_number,
    mark,
    mark_longer,
    parse_text,
    to_text,
)

_BITS = {ValueType.INT: 32, ValueType.LONG: 64}
_EXACT = 1 << 53  # every whole number up to it is a float64
_TRUE, _FALSE = pa.array(["true", "1"]), pa.array(["false", "0"])
_ABSENT = pa.array(["", "nan"])


def parse_metadata(column: pa.Array, field: Field) -> tuple[pa.Array, Codes]:
    """Return a column as `field.type.arrow`, and a code per row."""
    return _PARSERS[field.type](column, field)


def forbid_null(values: pa.Array, codes: Codes) -> None:
    """Give the rows that have no value, and no other fault, the code of that."""
    mark(codes, pc.is_null(values), Reason.NULL_VALUE)


def _parse_whole_text(column: pa.Array) -> tuple[pa.StringArray, Codes]:
    texts, codes = parse_text(column)
    return pc.if_else(pc.equal(pc.binary_length(texts), 0), NO_TEXT, texts), codes


def _parse_strings(column: pa.Array, field: Field) -> tuple[pa.StringArray, Codes]:
    texts, codes = _parse_whole_text(column)
    if field.is_categorical or field.column == IMPRESSION:
        mark_longer(codes, texts, MAX_VALUE_LENGTH, Reason.VALUE_TOO_LONG)
    return texts, codes


def _parse_floats(column: pa.Array, _: Field) -> tuple[pa.DoubleArray, Codes]:
    return parse_numbers(column, Reason.BAD_NUMBER)


def _parse_integers(column: pa.Array, field: Field) -> tuple[pa.Int64Array, Codes]:
    """Return whole numbers. 12.0 is one: that is how many programs write a column with gaps."""
    codes = np.zeros(len(column), np.uint8)
    values = _cast_to_integers(column)
    if values is None:
        values, is_bad = _read_integers(column)
        codes[is_bad] = code_of(Reason.BAD_INTEGER)
    if _BITS[field.type] < 64:
        limit = 1 << (_BITS[field.type] - 1)
        is_outside = pc.or_(pc.less(values, -limit), pc.greater_equal(values, limit))
        mark(codes, is_outside, Reason.BAD_INTEGER)
    return values, codes


def _cast_to_integers(column: pa.Array) -> pa.Int64Array | None:
    """Return the column as int64 if every value is plainly one, else None. The quick way."""
    with contextlib.suppress(pa.ArrowInvalid):
        if is_number(column.type):
            return column.cast(pa.int64())
        texts, is_bad = to_text(column)
        if not is_bad.any() and not any(holds(texts, letter) for letter in b"xX"):
            return texts.cast(pa.int64())
    return None


def _read_integers(column: pa.Array) -> tuple[pa.Int64Array, NDArray[np.bool_]]:
    """Return whole numbers value by value, null where there is none, and where that is a fault."""
    texts, is_bad = to_text(column)
    distinct = pc.dictionary_encode(pc.utf8_lower(pc.ascii_trim_whitespace(texts)))
    numbers = [_integer(text) for text in distinct.dictionary.to_pylist()]
    values = pa.array(numbers, pa.int64()).take(distinct.indices)
    is_absent = pc.or_(
        pc.is_null(texts), pc.fill_null(pc.is_in(distinct.cast(pa.string()), _ABSENT), False)
    )
    is_wrong = pc.and_not(pc.is_null(values), is_absent).to_numpy(zero_copy_only=False)
    return values, is_wrong | is_bad


def _integer(text: str) -> int | None:
    """Return the whole number that a text in small letters spells; None: none of 64 bits."""
    digits = text.removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdigit() and len(digits) < 100:
        number = int(digits) * (-1 if text.startswith("-") else 1)
        return number if -(1 << 63) <= number < 1 << 63 else None
    with contextlib.suppress(ValueError, OverflowError):
        value = float(text) if "_" not in text else np.nan
        if value == int(value) and abs(value) <= _EXACT:
            return int(value)
    return None


def _parse_booleans(column: pa.Array, _: Field) -> tuple[pa.BooleanArray, Codes]:
    if pa.types.is_boolean(column.type):
        return column, np.zeros(len(column), np.uint8)
    texts, codes = _parse_whole_text(column)
    lowered = pc.utf8_lower(pc.ascii_trim_whitespace(texts))
    is_true = pc.is_in(lowered, _TRUE)
    is_known = pc.or_(is_true, pc.is_in(lowered, _FALSE))
    mark(codes, pc.and_not(pc.is_valid(texts), is_known), Reason.BAD_BOOLEAN)
    return pc.if_else(is_known, is_true, pa.scalar(None, pa.bool_())), codes


_PARSERS: dict[ValueType, Callable[[pa.Array, Field], tuple[pa.Array, Codes]]] = {
    ValueType.STRING: _parse_strings,
    ValueType.INT: _parse_integers,
    ValueType.LONG: _parse_integers,
    ValueType.FLOAT: _parse_floats,
    ValueType.DOUBLE: _parse_floats,
    ValueType.BOOLEAN: _parse_booleans,
}
