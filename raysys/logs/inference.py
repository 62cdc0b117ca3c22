"""A schema for tables that have none, out of their first rows: to be read and edited by a person.

What the first rows cannot show is left open: every column but the required ones may be null.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import SchemaError
from raysys.logs.metadata import parse_metadata
from raysys.logs.sampling import Column, sample_columns
from raysys.logs.schema import MAX_METADATA, RESERVED, TITLES, Field, Kind, Schema, ValueType
from raysys.logs.source import Source

_LEADING_ZERO = r"^\s*[+-]?0[0-9]"
_PROSE_LENGTH = 40  # characters on average; names, and lists of categories, are shorter
_FEW = 50  # so many different values are few, whatever the number of rows


@dataclass(frozen=True, slots=True)
class Inferred:
    """A schema, and what a person should know who reads it.

    Attributes:
        called: what a field is called in the sources, where no field can have that name.
        notices: sentences on what the schema leaves out.
    """

    schema: Schema
    called: dict[str, str]
    notices: list[str]


def infer_schema(
    sources: Sequence[Source], kind: Kind, called: Mapping[str, str] | None = None
) -> Inferred:
    """Return a schema for the sources of one table.

    Args:
        called: what columns are called in the sources, where that is told.

    Raises:
        SourceError: a source cannot be read, or lacks a required column.
        SchemaError: there is nothing that a schema could declare.
    """
    columns, elsewhere = sample_columns(sources, kind, called or {})
    notices = [f"{_names(elsewhere)}: left out, since only some of the files have it."] * bool(
        elsewhere
    )
    prose = _prose_among(columns, kind)
    fields: list[Field] = []
    names: dict[str, str] = {}
    for column in columns:
        name = _field_name(column, fields, kind)
        field = _field(name, column, kind, is_prose=column is prose, known=fields)
        if field is None:
            notices.append(
                f"{column.name!r}: left out, since its type is {column.values.type}, which no "
                f"schema has."
            )
            continue
        fields.append(field)
        if name.lower() != column.name.strip().lower():
            names[name] = column.name
    fields, beyond = _limited(fields, kind)
    if beyond:
        notices.append(
            f"{_names(beyond)}: left out, since {kind} have at most {MAX_METADATA[kind]} columns "
            f"of metadata. Put one in for another if it says more."
        )
    if kind is not Kind.INTERACTIONS and len(fields) == 1:
        raise SchemaError(
            f"{sources[0].name} has no column beside {fields[0].name} that a schema could declare."
        )
    kept = {field.name for field in fields}
    names = {name: told for name, told in names.items() if name in kept}
    return Inferred(Schema(kind, tuple(fields)), names, notices)


def _field_name(column: Column, fields: Sequence[Field], kind: Kind) -> str:
    """Return a name that a field may have, and that no other one has."""
    if column.key in RESERVED[kind]:
        return column.key.upper()
    name = re.sub(r"[^A-Z0-9_]+", "_", column.key.upper()).strip("_") or "COLUMN"
    name = f"C_{name}" if name[0].isdigit() else name
    taken = {field.name.replace("_", "") for field in fields}
    taken |= {one.upper().replace("_", "") for one in RESERVED[kind]}
    number = 2
    unique = name
    while unique.replace("_", "") in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _field(
    name: str, column: Column, kind: Kind, *, is_prose: bool, known: Sequence[Field]
) -> Field | None:
    """Return the field of a column, None where no type fits it."""
    demand = RESERVED[kind].get(column.key)
    if demand is not None:
        return Field(name, demand.types[0], is_nullable=not demand.is_required)
    value_type = _type_of(column.values)
    if value_type is None:
        return None
    if value_type is not ValueType.STRING or is_prose:
        return Field(name, value_type, is_nullable=True, is_textual=is_prose)
    is_name = kind is Kind.ITEMS and column.key in TITLES
    if is_name and not any(field.is_item_name for field in known):
        return Field(name, value_type, is_nullable=True, is_item_name=True)
    return Field(name, value_type, is_nullable=True, is_categorical=_has_few(column.values))


def _type_of(values: pa.Array) -> ValueType | None:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return _type_of_texts(values)
    if pa.types.is_integer(kind):
        return ValueType.LONG
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ValueType.DOUBLE
    return ValueType.BOOLEAN if pa.types.is_boolean(kind) else None


def _type_of_texts(texts: pa.Array) -> ValueType:
    """Return the narrowest type that all texts fit; digits behind a zero are no number."""
    texts = pc.drop_null(texts.cast(pa.string()))
    texts = texts.filter(pc.greater(pc.binary_length(texts), 0))
    if not len(texts):
        return ValueType.STRING
    if pc.all(pc.is_in(pc.utf8_lower(texts), pa.array(["true", "false"]))).as_py():
        return ValueType.BOOLEAN
    if not pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py():
        for value_type in (ValueType.LONG, ValueType.DOUBLE):
            _, codes = parse_metadata(texts, Field("VALUE", value_type))
            if not codes.any():
                return value_type
    return ValueType.STRING


def _has_few(texts: pa.Array) -> bool:
    """Say whether the values repeat, so that something can be learnt of each."""
    return bool(len(pc.unique(texts)) <= max(_FEW, len(texts) // 2))


def _prose_among(columns: Sequence[Column], kind: Kind) -> Column | None:
    """Return the column of items whose texts are the longest, if they read like prose."""
    if kind is not Kind.ITEMS:
        return None
    others = [one for one in columns if one.key not in (*RESERVED[kind], *TITLES)]
    texts = [one for one in others if pa.types.is_string(one.values.type)]
    lengths = {id(one): _mean_length(one.values) for one in texts}
    longest = max(texts, key=lambda one: lengths[id(one)], default=None)
    return None if longest is None or lengths[id(longest)] < _PROSE_LENGTH else longest


def _mean_length(texts: pa.Array) -> float:
    """Return the mean number of characters; 0 where the texts are no sentences of words."""
    has_words = pc.mean(pc.match_substring(texts, " ").cast(pa.int8())).as_py() or 0
    lengths = pc.utf8_length(texts)
    return float(np.nan_to_num(pc.mean(lengths).as_py() or 0)) if has_words > 0.5 else 0.0


def _limited(fields: Sequence[Field], kind: Kind) -> tuple[list[Field], list[str]]:
    """Return as many fields as a schema may have, and the names of the others."""
    metadata = [field for field in fields if field.name.lower() not in RESERVED[kind]]
    beyond = [field.name for field in metadata[MAX_METADATA[kind] :]]
    return [field for field in fields if field.name not in beyond], beyond


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
