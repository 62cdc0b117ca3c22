"""Schemas as Amazon Personalize writes them: Avro records in JSON, read with every rule checked.

The rules, of Personalize unless said otherwise: the record's name is that of the table; fields are
flat; types are string, int, long, float, double, boolean, alone or with null; reserved names have
their own types; names are ASCII letters, digits and underscores, and stay different where case and
underscores are left out (an event's properties are in camel case); the number of metadata fields is
bounded; strings may be `categorical`, those of items `textual`, one at most. An addition of raysys:
a text may have an `embedding`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raysys.errors import SchemaError
from raysys.logs.schema import Embedding, Field, Kind, Schema, ValueType
from raysys.logs.schema_rules import MARKS, faults_of_field, faults_of_fields

MAX_CHARACTERS = 20_000
"""Of the JSON text."""

_NAMESPACE = "com.amazonaws.personalize.schema"
_EMBEDDING = "embedding"
_OURS = (*MARKS, _EMBEDDING)
_KNOWN_ATTRIBUTES = {"name", "type", "doc", "default", "order", "aliases", *_OURS}


def read_schema(path: Path, kind: Kind) -> Schema:
    """Read a schema file of one kind of table.

    Raises:
        SchemaError: the file cannot be read, or `parse_schema` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"The schema {path} cannot be read: {error}") from error
    return parse_schema(text, kind, str(path))


def parse_schema(text: str, kind: Kind, source: str) -> Schema:
    """Return the schema that a JSON text declares. `source` names it, for messages.

    Raises:
        SchemaError: it breaks a rule; the message names every field that does, and how.
    """
    record = _record(text, source)
    faults = list(_faults_of_record(record, kind))
    fields = []
    written = record["fields"] if isinstance(record.get("fields"), list) else []
    for place, given in enumerate(written, start=1):
        found, field = _field(given, kind)
        name = given.get("name") if isinstance(given, dict) else None
        label = f"field {place} ({name})" if isinstance(name, str) else f"field {place}"
        faults += [f"{label} {fault}" for fault in found]
        if field is not None:
            fields.append(field)
    if len(fields) == len(written):
        faults += faults_of_fields(fields, kind)
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise SchemaError(f"{source} is no schema of {kind}:{lines}")
    return Schema(kind, tuple(fields))


def to_avro(schema: Schema) -> dict[str, Any]:
    """Return what `parse_schema` reads, before it is written as JSON."""
    return {
        "type": "record",
        "name": schema.kind.record_name,
        "namespace": _NAMESPACE,
        "fields": [_written(field) for field in schema.fields],
        "version": "1.0",
    }


def from_avro(record: Mapping[str, Any], kind: Kind) -> Schema:
    """Return the schema that `to_avro` wrote; what it wrote is not checked again."""
    return Schema(kind, tuple(_read(field) for field in record["fields"]))


def _written(field: Field) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": field.name,
        "type": [str(field.type), "null"] if field.is_nullable else str(field.type),
    }
    marks = (field.is_categorical, field.is_textual, field.is_item_name)
    if field.embedding is not Embedding.NGRAMS:
        written[_EMBEDDING] = str(field.embedding)
    return written | {name: True for name, is_set in zip(MARKS, marks, strict=True) if is_set}


def _record(text: str, source: str) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise SchemaError(
            f"{source} has {len(text):,} characters, but a schema has at most {MAX_CHARACTERS:,}."
        )
    try:
        record = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise SchemaError(
            f"{source} is no JSON, so it is no schema: {error}. A schema looks like "
            f"{json.dumps(to_avro(Schema(Kind.USERS, _EXAMPLE)))}"
        ) from error
    if not isinstance(record, dict):
        raise SchemaError(f"{source} is no schema: it must be one JSON object, a record of Avro.")
    return record


_EXAMPLE = (Field("USER_ID", ValueType.STRING), Field("AGE", ValueType.INT, is_nullable=True))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return dict(pairs)


def _faults_of_record(record: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    if record.get("type") != "record":
        yield f'its "type" must be "record", but is {_quoted(record.get("type"))}'
    name = record.get("name")
    if not isinstance(name, str) or name.lower() != kind:
        hint = ""
        if isinstance(name, str) and name.lower() in set(Kind):
            hint = f": this is the schema of another table, {name.lower()}"
        yield f'its "name" must be "{kind.record_name}", but is {_quoted(name)}{hint}'
    if not isinstance(record.get("fields"), list) or not record["fields"]:
        yield 'its "fields" must be a list of fields'


def _field(given: object, kind: Kind) -> tuple[list[str], Field | None]:
    """Return what is wrong with one field, and the field if it can be told what it is."""
    if not isinstance(given, dict):
        return ['must be an object with "name" and "type"'], None
    faults = list(_faults_of_attributes(given))
    if not isinstance(given.get("name"), str):
        faults.append(f'must have a "name", a text, not {_quoted(given.get("name"))}')
    if (fault := _fault_of_type(given.get("type"))) is not None:
        faults.append(fault)
    if faults:
        return faults, None
    field = _read(given)
    return list(faults_of_field(field, kind)), field


def _read(given: Mapping[str, Any]) -> Field:
    branches = _branches(given["type"])
    value_type = next(ValueType(one) for one in branches if one != "null")
    categorical, textual, name = (given.get(mark) is True for mark in MARKS)
    embedding = Embedding(given.get(_EMBEDDING, Embedding.NGRAMS))
    return Field(
        given["name"], value_type, "null" in branches, categorical, textual, name, embedding
    )


def _branches(written: object) -> list[Any]:
    """Return the types of a field, which may each be spelled `{"type": ...}`."""
    branches: list[Any] = written if isinstance(written, list) else [written]
    return [
        one["type"] if isinstance(one, dict) and set(one) == {"type"} else one for one in branches
    ]


def _fault_of_type(written: object) -> str | None:
    branches = _branches(written)
    values = [one for one in branches if one != "null"]
    for value in values:
        if not isinstance(value, str) or value not in set(ValueType):
            spelled = value.get("type", value) if isinstance(value, dict) else value
            return (
                f"has the type {_quoted(spelled)}, but the types are {', '.join(ValueType)} and "
                f"null; several values of a column are one string, with | between them"
            )
    if len(values) != 1 or len(set(branches)) != len(branches):
        return f"must have one type, alone or beside null, but has {_quoted(written)}"
    return None


def _faults_of_attributes(given: Mapping[str, Any]) -> Iterator[str]:
    for mark in MARKS:
        if mark in given and not isinstance(given[mark], bool):
            yield f'must have "{mark}" as true or false, but it is {_quoted(given[mark])}'
    if _EMBEDDING in given and given[_EMBEDDING] not in [*Embedding]:
        known = " or ".join(f'"{one}"' for one in Embedding)
        yield f'must have "{_EMBEDDING}" as {known}, but it is {_quoted(given[_EMBEDDING])}'
    for name in given:
        close = difflib.get_close_matches(name.lower(), [one.lower() for one in _OURS], 1, 0.8)
        if name not in _KNOWN_ATTRIBUTES and close:
            meant = next(mark for mark in _OURS if mark.lower() == close[0])
            yield f'has the attribute "{name}": is "{meant}" meant?'


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
