"""Why a JSON value does not fit a shape, in the words that AWS uses.

Only read when a request was refused already: here clarity counts, not time.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import inspect

from raysys.errors import InvalidInputError

_MOST_VIOLATIONS = 10
_MOST_SHOWN_CHARACTERS = 60

_KINDS: dict[type[inspect.Type], tuple[type | tuple[type, ...], str]] = {
    inspect.StrType: (str, "a string"),
    inspect.IntType: (int, "an integer"),
    inspect.FloatType: ((int, float), "a number"),
    inspect.ListType: (list, "a list"),
    inspect.DictType: (dict, "an object"),
    inspect.StructType: (dict, "an object"),
}


def explain_violations(value: object, shape: type) -> str | None:
    """Return one sentence per violation, or None when none of the known kinds is found."""
    found = list(islice(_violations(value, inspect.type_info(shape), ""), _MOST_VIOLATIONS))
    if not found:
        return None
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


def _violation(value: object, path: str, constraint: str) -> str:
    place = f" at '{path}'" if path else ""
    return f"Value {_shown(value)}{place} failed to satisfy constraint: Member must {constraint}"


def refusal(value: object, path: str, constraint: str) -> InvalidInputError:
    """Return the error for one value at a path such as `eventList.1.member.sentAt`."""
    return InvalidInputError(f"1 validation error detected: {_violation(value, path, constraint)}")


def _violations(value: object, shape: inspect.Type, path: str) -> Iterator[str]:
    if isinstance(shape, inspect.Metadata):
        hint = (shape.extra or {}).get("hint")
        for sentence in _violations(value, shape.type, path):
            yield f"{sentence}. {hint}" if hint else sentence
    elif isinstance(shape, inspect.UnionType):
        yield from _violations_of_union(value, shape, path)
    elif type(shape) in _KINDS:
        if value is None:
            yield _violation(None, path, "not be null")
        elif not _is_kind(value, shape):
            yield _violation(value, path, f"be {_KINDS[type(shape)][1]}")
        else:
            of_bounds = [*_violations_of_bounds(value, shape, path)]
            yield from of_bounds
            if not of_bounds:  # nobody looks at each of a million members
                yield from _violations_inside(value, shape, path)


def _violations_of_union(value: object, shape: inspect.UnionType, path: str) -> Iterator[str]:
    if value is None and shape.includes_none:
        return
    choices = [choice for choice in shape.types if not isinstance(choice, inspect.NoneType)]
    fitting = [choice for choice in choices if _is_kind(value, _bare(choice))]
    if fitting:
        yield from _violations(value, fitting[0], path)
    elif len(choices) == 1:
        yield from _violations(value, choices[0], path)
    else:
        kinds = " or ".join(_KINDS[type(_bare(choice))][1] for choice in choices)
        yield _violation(value, path, f"be {kinds}")


def _violations_of_bounds(value: Any, shape: Any, path: str) -> Iterator[str]:
    if isinstance(shape, (inspect.IntType, inspect.FloatType)):
        if shape.ge is not None and value < shape.ge:
            yield _violation(value, path, f"have value greater than or equal to {shape.ge}")
        if shape.le is not None and value > shape.le:
            yield _violation(value, path, f"have value less than or equal to {shape.le}")
        if shape.lt is not None and value >= shape.lt:
            yield _violation(value, path, f"have value less than {shape.lt}")
        return
    least, most = getattr(shape, "min_length", None), getattr(shape, "max_length", None)
    if least is not None and len(value) < least:
        yield _violation(value, path, f"have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _violation(value, path, f"have length less than or equal to {most}")
    pattern = getattr(shape, "pattern", None)
    if pattern is not None and re.search(pattern, value) is None:
        yield _violation(value, path, f"satisfy regular expression pattern: {pattern}")


def _violations_inside(value: Any, shape: inspect.Type, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    if isinstance(shape, inspect.ListType):
        for number, member in enumerate(value, start=1):
            yield from _violations(member, shape.item_type, f"{prefix}{number}.member")
    elif isinstance(shape, inspect.DictType):
        for key, member in value.items():
            yield from _violations(key, shape.key_type, f"{prefix}key")
            yield from _violations(member, shape.value_type, f"{prefix}{_cut(key)}.value")
    elif isinstance(shape, inspect.StructType):
        for field in shape.fields:
            name = f"{prefix}{field.encode_name}"
            if field.encode_name in value:
                yield from _violations(value[field.encode_name], field.type, name)
            elif field.required:
                yield _violation(None, name, "not be null")


def _is_kind(value: object, shape: inspect.Type) -> bool:
    if type(shape) not in _KINDS:
        return True
    # In Python true is an integer; on the wire it is not.
    return isinstance(value, _KINDS[type(shape)][0]) and not isinstance(value, bool)


def _bare(shape: inspect.Type) -> inspect.Type:
    return shape.type if isinstance(shape, inspect.Metadata) else shape


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{len(value)} members]"
    if isinstance(value, dict):
        return f"{{{len(value)} members}}"
    if isinstance(value, str):
        return f"'{_cut(value)}'"
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    if len(text) <= _MOST_SHOWN_CHARACTERS:
        return text
    return f"{text[:_MOST_SHOWN_CHARACTERS]}… ({len(text)} characters)"
