"""The rules that a schema must keep, apart from how it is written. Pure: fields in, sentences out.

A sentence on one field goes on from the field's name; see `raysys.logs.avro` for where they come
from.
"""

from collections.abc import Iterator, Sequence

from raysys import tables
from raysys.logs.schema import MAX_METADATA, RESERVED, Embedding, Field, Kind, ValueType

MARKS = ("categorical", "textual", "itemName")
"""The attributes of a field that say what its values are."""

_OWN_COLUMNS = set(tables.INTERACTIONS.names) - set(RESERVED[Kind.INTERACTIONS])


def faults_of_field(field: Field, kind: Kind) -> Iterator[str]:
    """Say what is wrong with one field by itself."""
    yield from _faults_of_name(field.name, kind)
    if field.embedding is not Embedding.NGRAMS and not field.is_read_as_text:
        yield f'can have the embedding "{field.embedding}" only if it is textual or itemName'
    demand = RESERVED[kind].get(field.name.lower())
    if demand is None:
        yield from _faults_of_marks(field, kind)
        return
    if field.type not in demand.types:
        allowed = " or ".join(demand.types)
        yield f"must be of type {allowed}, since its name is reserved, but is {field.type}"
    if demand.is_required and field.is_nullable:
        yield "must not allow null: no row can be used without it"
    if field.is_categorical or field.is_read_as_text:
        yield f"can have none of {', '.join(MARKS)}, since its name is reserved"


def faults_of_fields(fields: Sequence[Field], kind: Kind) -> Iterator[str]:
    """Say what is wrong with the fields together."""
    written = {field.name.lower() for field in fields}
    for name, demand in RESERVED[kind].items():
        if demand.is_required and name not in written:
            yield f'the required field {name.upper()} of type "{demand.types[0]}" is missing'
    yield from _faults_of_names(fields)
    metadata = [field.name for field in fields if field.name.lower() not in RESERVED[kind]]
    most = MAX_METADATA[kind]
    if len(metadata) > most:
        shown = ", ".join(metadata[most : most + 5]) + (", ..." if len(metadata) > most + 5 else "")
        yield (
            f"it has {len(metadata)} fields of metadata, but {kind} have at most {most}: leave "
            f"out {len(metadata) - most} of them (the last are {shown})"
        )
    if kind is not Kind.INTERACTIONS and len(fields) == 1:
        yield f"it needs at least one field beside {fields[0].name}"
    for mark, marked in (
        ("textual", [field.name for field in fields if field.is_textual]),
        ("itemName", [field.name for field in fields if field.is_item_name]),
    ):
        if len(marked) > 1:
            yield f"only one field may be {mark}, but these are: {', '.join(marked)}"


def _faults_of_name(name: str, kind: Kind) -> Iterator[str]:
    is_plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    if not is_plain:
        yield (
            "has a name that is not made of letters, digits and underscores, a letter first: give "
            "it such a name here, and tell the import what the column is called (--column)"
        )
    if kind is Kind.INTERACTIONS and name.lower() in _OWN_COLUMNS:
        yield "has a name that raysys needs for a column of its own; give it another"


def _faults_of_marks(field: Field, kind: Kind) -> Iterator[str]:
    if field.is_categorical and field.type in (ValueType.FLOAT, ValueType.DOUBLE):
        yield f"cannot be categorical, since {field.type} values are no categories"
    if field.is_categorical and field.is_textual:
        yield "cannot be both categorical and textual"
    is_text_of_items = kind is Kind.ITEMS and field.type is ValueType.STRING
    for mark, is_marked in (("textual", field.is_textual), ("itemName", field.is_item_name)):
        if is_marked and not is_text_of_items:
            yield f"cannot be {mark}: only a string of items can"


def _faults_of_names(fields: Sequence[Field]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for field in fields:
        for name in {field.name.lower(), field.column}:
            plain = name.replace("_", "")
            if seen.setdefault(plain, field.name) != field.name:
                yield (
                    f"the fields {seen[plain]} and {field.name} would be one column: case and "
                    f"underscores do not count, and a field that is itemName becomes TITLE"
                )
    names = [field.name for field in fields]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"the field {name} stands there {names.count(name)} times"
