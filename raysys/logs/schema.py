"""What the columns of a table are called and hold, as Amazon Personalize's schemas say it.

A schema is flat: one field a column, of one type that may allow null. Some names are reserved, and
have their meaning and types; every other field is metadata (for interactions: the context in which
they happened). `raysys.logs.avro` reads and writes schemas as the JSON that Personalize takes.

A table's Arrow columns are named like the fields, in lower case. Metadata is nullable in Arrow
whatever the schema allows: the schema rules what may enter, and a column that is declared later is
null in what was imported before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

from raysys import tables

CREATION_TIMESTAMP = "creation_timestamp"
IMPRESSION = "impression"
RECOMMENDATION_ID = "recommendation_id"
EVENT_ATTRIBUTION_SOURCE = "event_attribution_source"

TITLE = "title"
"""The column of the item table that a person reads, see `raysys.tables.ITEMS`."""

TITLES = (TITLE, "movie_title", "item_title")
"""What that column is called in tables without a schema."""


class Kind(StrEnum):
    """Which table a schema is of."""

    INTERACTIONS = "interactions"
    ITEMS = "items"
    USERS = "users"

    @property
    def record_name(self) -> str:
        """The name of the schema's record, which Personalize compares with the dataset type."""
        return self.value.capitalize()


class ValueType(StrEnum):
    """The types of Avro that Personalize takes; null is what a field allows beside its type."""

    STRING = "string"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BOOLEAN = "boolean"

    @property
    def arrow(self) -> pa.DataType:
        """How values are stored: both kinds of integers in 64 bits, both kinds of floats too."""
        return _ARROW[self]


_ARROW = {
    ValueType.STRING: pa.string(),
    ValueType.INT: pa.int64(),
    ValueType.LONG: pa.int64(),
    ValueType.FLOAT: pa.float64(),
    ValueType.DOUBLE: pa.float64(),
    ValueType.BOOLEAN: pa.bool_(),
}


class Embedding(StrEnum):
    """How models read a text."""

    NGRAMS = "ngrams"  # words, and three letters in a row
    SENTENCE = "sentence"  # what it means, by a model of language: see `raysys.dataset.sentences`


class Reserved(NamedTuple):
    """What a reserved name demands: one of these types, and for required ones no null."""

    types: tuple[ValueType, ...]
    is_required: bool = False


_TEXT = Reserved((ValueType.STRING,))
_ID = Reserved((ValueType.STRING,), is_required=True)

RESERVED: Mapping[Kind, Mapping[str, Reserved]] = {
    Kind.INTERACTIONS: {
        "user_id": _ID,
        "item_id": _ID,
        "timestamp": Reserved((ValueType.LONG,), is_required=True),
        "event_type": _TEXT,
        "event_value": Reserved((ValueType.FLOAT, ValueType.DOUBLE)),
        "event_id": _TEXT,  # raysys' own: what Personalize calls eventId in PutEvents
        IMPRESSION: _TEXT,
        RECOMMENDATION_ID: _TEXT,
        EVENT_ATTRIBUTION_SOURCE: _TEXT,
    },
    Kind.ITEMS: {"item_id": _ID, CREATION_TIMESTAMP: Reserved((ValueType.LONG,))},
    Kind.USERS: {"user_id": _ID},
}
"""The reserved columns of each table, in the order in which they are written and checked."""

MAX_METADATA: Mapping[Kind, int] = {Kind.INTERACTIONS: 5, Kind.ITEMS: 100, Kind.USERS: 25}
"""How many metadata fields a schema may have."""

MAX_EVENT_TYPES_AND_METADATA = 10
"""How many event types and metadata fields of interactions Personalize takes, in all."""

_AFTER_THE_CORE = (IMPRESSION, RECOMMENDATION_ID, EVENT_ATTRIBUTION_SOURCE)


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Attributes:
        name: as the schema writes it, by custom in capitals.
        is_categorical: the values name categories; a cell with `|` holds several.
        is_textual: the values are prose.
        is_item_name: the values are the names of items, and so their titles.
        embedding: how models read the values of a textual field, or of the name.
    """

    name: str
    type: ValueType
    is_nullable: bool = False
    is_categorical: bool = False
    is_textual: bool = False
    is_item_name: bool = False
    embedding: Embedding = Embedding.NGRAMS

    @property
    def is_read_as_text(self) -> bool:
        """Whether models read words, or what they mean, and not whole values."""
        return self.is_textual or self.is_item_name

    @property
    def column(self) -> str:
        """The name of the column that holds it: its own, but for what items are called."""
        return TITLE if self.is_item_name else self.name.lower()


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one table, in order. `raysys.logs.avro` makes those that users write."""

    kind: Kind
    fields: tuple[Field, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(field.column for field in self.fields)

    @property
    def metadata(self) -> tuple[Field, ...]:
        """The fields whose names are not reserved."""
        return tuple(field for field in self.fields if field.column not in RESERVED[self.kind])

    @property
    def context(self) -> tuple[Field, ...]:
        """Of interactions: the metadata that says in which context each came to be.

        A string does if it is categorical, as Personalize has it.
        """
        return tuple(
            field
            for field in self.metadata
            if field.is_categorical or field.type is not ValueType.STRING
        )

    @property
    def in_order(self) -> tuple[Field, ...]:
        """The fields in the order in which they are checked: reserved ones, then metadata."""
        known = {field.column: field for field in self.fields}
        reserved = [known[column] for column in RESERVED[self.kind] if column in known]
        return (*reserved, *self.metadata)

    def field(self, column: str) -> Field | None:
        """Return the field of a column, None where the schema has none."""
        return next((field for field in self.fields if field.column == column), None)

    def shard_schema(self) -> pa.Schema:
        """Return the Arrow schema of a dataset's interactions: what each shard of it has.

        The columns of `tables.INTERACTIONS`, then the other reserved columns that the schema
        declares, then its metadata. (Of interactions only.)
        """
        reserved = [column for column in _AFTER_THE_CORE if self.field(column) is not None]
        added = [pa.field(column, pa.string()) for column in reserved]
        added += [pa.field(field.column, field.type.arrow) for field in self.metadata]
        return pa.schema([*tables.INTERACTIONS, *added])


def schema_of(kind: Kind, reserved: Iterable[str]) -> Schema:
    """Return the schema of a table that has reserved columns only, none of them given a schema.

    The required columns are always in it; the others, where named, may be null.
    """
    named = set(reserved)
    return Schema(
        kind,
        tuple(
            Field(column.upper(), demand.types[0], is_nullable=not demand.is_required)
            for column, demand in RESERVED[kind].items()
            if demand.is_required or column in named
        ),
    )
