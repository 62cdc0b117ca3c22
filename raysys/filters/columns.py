"""Columns of what is known of items or users, made ready to be compared with constants.

What a cell is to a condition:

    missing   a null, and a text that is empty. It is in no list and not to be compared, so IN and
              <, <=, >, >= are false, NOT IN and != are true: they are the opposites of IN and =
    several   a text holds the values between its bars: "Comedy|Drama" is in a list that has either,
              and in no NOT IN list that has either
    text      equals texts exactly, upper and lower case apart. Beside a number it counts as the
              number that it spells, if it spells one
    number    truth values are 1 and 0, times are seconds since 1970 UTC. Beside a text it equals
              the number that the text spells, if it spells one; true and false are spelled so too

Letters for shapes:
    n  rows    C  distinct cells    P  values of all distinct cells
"""

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.errors import InvalidInputError
from raysys.filters.expression import Condition, Constant, Number, Operator, number_in

_NUMBER_PATTERN = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
TRUTHS = {"true": 1, "false": 0}

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
_NUMBERS = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_timestamp,
)

_COMPARED: dict[Operator, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


class Column(Protocol):
    """One column of n rows."""

    def equals_any(self, constants: Iterable[Constant]) -> NDArray[np.bool_]:
        """Return whether each row holds one of the constants, (n,)."""

    def compares(self, operator: Operator, number: Number) -> NDArray[np.bool_]:
        """Return whether each row holds a number that is so beside this one, (n,)."""


def check_type(field: pa.Field) -> None:
    """Raise InvalidInputError unless there are conditions on columns of the type of this one."""
    if not any(is_kind(field.type) for is_kind in (*_TEXTS, *_NUMBERS)):
        raise InvalidInputError(
            f"The filter reads column {field.name!r}, which holds {field.type}. Texts, numbers, "
            f"truth values and times can be filtered by; store it as one of these."
        )


def column_of(values: pa.Array | pa.ChunkedArray) -> Column:
    """Return a column of an Arrow array, (n,), of a type that `check_type` lets pass."""
    kind = values.type
    if any(is_kind(kind) for is_kind in _TEXTS):
        return TextColumn(values.cast(pa.string()))
    if pa.types.is_boolean(kind):
        return NumberColumn.of(values.cast(pa.int64()), TRUTHS)
    if pa.types.is_timestamp(kind):
        us = values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        return NumberColumn.of(pc.divide(us.cast(pa.float64()), 1e6))
    return NumberColumn.of(values)


def meets(column: Column, condition: Condition) -> NDArray[np.bool_]:
    """Return whether each row meets a condition whose values are constants, (n,)."""
    constants = condition.constants()
    if condition.operator == "IN":
        return column.equals_any(constants)
    if condition.operator == "NOT IN":
        return ~column.equals_any(constants)
    number = constants[0] if not isinstance(constants[0], str) else number_in(constants[0])
    assert number is not None  # texts that spell none were refused
    return column.compares(condition.operator, number)


class TextColumn:
    """Texts, kept as the place of each among the distinct ones: 4 bytes a row."""

    def __init__(self, texts: pa.Array | pa.ChunkedArray) -> None:
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        encoded = texts.dictionary_encode()
        cells = encoded.dictionary
        self._cells: NDArray[np.int32] = pc.fill_null(encoded.indices, len(cells)).to_numpy()
        self._num_cells = len(cells)
        lists = pc.split_pattern(cells, "|")
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        self._parts = pc.list_flatten(lists)  # (P,)
        self._cell_of_part = np.repeat(np.arange(len(cells)), lengths)

    def equals_any(self, constants: Iterable[Constant]) -> NDArray[np.bool_]:
        texts = [each for each in constants if isinstance(each, str) and each]
        hits: NDArray[np.bool_] = pc.is_in(
            self._parts, value_set=pa.array(texts, pa.string())
        ).to_numpy(zero_copy_only=False)
        numbers = [each for each in constants if not isinstance(each, str)]
        if numbers:
            hits = hits | np.isin(self._numbers, np.array(numbers, np.float64))
        return self._rows_of(hits)

    def compares(self, operator: Operator, number: Number) -> NDArray[np.bool_]:
        return self._rows_of(_COMPARED[operator](self._numbers, float(number)))

    @cached_property
    def _numbers(self) -> NDArray[np.float64]:
        """The number that each value spells, (P,); nan, which is beside no number, for none."""
        spells = pc.match_substring_regex(self._parts, _NUMBER_PATTERN)
        trimmed = pc.utf8_trim_whitespace(pc.if_else(spells, self._parts, None))
        # Arrow reads no plus sign.
        unsigned = pc.replace_substring_regex(trimmed, r"^\+", "")
        numbers: NDArray[np.float64] = unsigned.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return numbers

    def _rows_of(self, hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the rows whose cells hold one of the values that are hit."""
        is_met = np.zeros(self._num_cells + 1, dtype=bool)  # the last one is null
        is_met[self._cell_of_part[hits]] = True
        return is_met[self._cells]


class NumberColumn:
    """Numbers, integers or floats, some of which may be missing."""

    def __init__(
        self, numbers: NDArray[Any], is_given: NDArray[np.bool_], spelled: dict[str, int]
    ) -> None:
        self._numbers = numbers
        self._is_given = is_given
        self._spelled = spelled

    @classmethod
    def of(
        cls, values: pa.Array | pa.ChunkedArray, spelled: dict[str, int] | None = None
    ) -> "NumberColumn":
        """Make a column of a numeric array.

        Args:
            spelled: numbers that have words, in lower case.
        """
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
        is_given = values.is_valid().to_numpy(zero_copy_only=False)
        if np.issubdtype(numbers.dtype, np.floating):
            is_given = is_given & ~np.isnan(numbers)
        return cls(numbers, is_given, spelled or {})

    def equals_any(self, constants: Iterable[Constant]) -> NDArray[np.bool_]:
        is_met = np.zeros(len(self._numbers), dtype=bool)
        numbers = [self._number_of(each) for each in constants]
        # As the column holds it: 0.1 is in a column of 32-bit floats that was made from 0.1.
        fitting = [fitted for each in numbers if (fitted := self._fitted(each)) is not None]
        if fitting:
            is_met = np.isin(self._numbers, np.array(fitting, self._numbers.dtype))
        return is_met & self._is_given

    def compares(self, operator: Operator, number: Number) -> NDArray[np.bool_]:
        if np.issubdtype(self._numbers.dtype, np.floating):
            with np.errstate(over="ignore"):
                border: Any = self._numbers.dtype.type(number)
        else:
            # The same border among integers, exactly: below 2.5 means below 3, up to 2.5 up to 2.
            limits = np.iinfo(self._numbers.dtype)
            if not limits.min <= number <= limits.max:
                is_below = (number > 0) == (operator in ("<", "<="))
                return self._is_given & is_below
            border = math.ceil(number) if operator in ("<", ">=") else math.floor(number)
            border = min(border, limits.max)
        is_met: NDArray[np.bool_] = _COMPARED[operator](self._numbers, border)
        return is_met & self._is_given

    def _number_of(self, constant: Constant) -> Number | None:
        if not isinstance(constant, str):
            return constant
        word = self._spelled.get(constant.strip().lower())
        return number_in(constant) if word is None else word

    def _fitted(self, number: Number | None) -> Any:
        """Return the number as one of the column's own type; None where that has no such number."""
        kind = self._numbers.dtype
        if number is None or not math.isfinite(number):
            return None
        if np.issubdtype(kind, np.floating):
            with np.errstate(over="ignore"):
                return kind.type(number)
        limits = np.iinfo(kind)
        is_one = number == int(number) and limits.min <= number <= limits.max
        return int(number) if is_one else None
