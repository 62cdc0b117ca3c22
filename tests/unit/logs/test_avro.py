"""Personalize's schemas are read as they are; what breaks a rule is named with its field."""

import json
from typing import Any

import pyarrow as pa
import pytest

from raysys import tables
from raysys.errors import SchemaError
from raysys.logs.avro import from_avro, parse_schema, read_schema, to_avro
from raysys.logs.schema import Embedding, Field, Kind, Schema, ValueType, schema_of

INTERACTIONS = """{
  "type": "record",
  "name": "Interactions",
  "namespace": "com.amazonaws.personalize.schema",
  "fields": [
    {"name": "USER_ID", "type": "string"},
    {"name": "ITEM_ID", "type": "string"},
    {"name": "EVENT_TYPE", "type": "string"},
    {"name": "EVENT_VALUE", "type": ["float", "null"]},
    {"name": "IMPRESSION", "type": ["string", "null"]},
    {"name": "DEVICE", "type": ["null", "string"], "categorical": true},
    {"name": "SECONDS_WATCHED", "type": {"type": "int"}},
    {"name": "TIMESTAMP", "type": "long"}
  ],
  "version": "1.0"
}"""
"""As Personalize's documentation writes them: null first or last, any order of fields."""

REQUIRED = {
    Kind.INTERACTIONS: [("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long")],
    Kind.ITEMS: [("ITEM_ID", "string"), ("PRICE", "float")],
    Kind.USERS: [("USER_ID", "string"), ("AGE", "int")],
}


def text_of(kind: Kind, *more: dict[str, Any], without: str = "", **record: Any) -> str:
    fields = [{"name": name, "type": kind_of} for name, kind_of in REQUIRED[kind]]
    kept = [field for field in fields if field["name"] != without]
    return json.dumps(
        {"type": "record", "name": kind.record_name, "fields": [*kept, *more], **record}
    )


def faults(text: str, kind: Kind = Kind.INTERACTIONS) -> str:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, kind, "schema.avsc")
    assert str(caught.value).startswith("schema.avsc")
    return str(caught.value)


def test_a_schema_of_personalize_is_read_as_it_is_meant():
    schema = parse_schema(INTERACTIONS, Kind.INTERACTIONS, "schema.avsc")
    assert schema.columns == (
        "user_id",
        "item_id",
        "event_type",
        "event_value",
        "impression",
        "device",
        "seconds_watched",
        "timestamp",
    )
    assert schema.metadata == (
        Field("DEVICE", ValueType.STRING, is_nullable=True, is_categorical=True),
        Field("SECONDS_WATCHED", ValueType.INT),
    )
    nullable = {field.name for field in schema.fields if field.is_nullable}
    assert nullable == {"EVENT_VALUE", "IMPRESSION", "DEVICE"}


def test_shards_have_the_core_columns_then_the_reserved_ones_then_the_metadata():
    schema = parse_schema(INTERACTIONS, Kind.INTERACTIONS, "schema.avsc").shard_schema()
    core = len(tables.INTERACTIONS)
    assert pa.schema(list(schema)[:core]) == tables.INTERACTIONS
    assert [(field.name, field.type) for field in list(schema)[core:]] == [
        ("impression", pa.string()),
        ("device", pa.string()),
        ("seconds_watched", pa.int64()),
    ]


def test_a_table_without_a_schema_has_the_required_columns_and_those_it_has():
    schema = schema_of(Kind.INTERACTIONS, {"event_id", "recommendation_id"})
    assert schema.columns == ("user_id", "item_id", "timestamp", "event_id", "recommendation_id")
    assert schema.shard_schema().names == [*tables.INTERACTIONS.names, "recommendation_id"]
    assert schema_of(Kind.INTERACTIONS, ()).shard_schema() == tables.INTERACTIONS


@pytest.mark.parametrize("kind", Kind)
def test_a_schema_survives_being_written_and_read(kind):
    parsed = parse_schema(
        text_of(kind, {"name": "TAGS", "type": ["string", "null"], "categorical": True}),
        kind,
        "schema.avsc",
    )
    assert parse_schema(json.dumps(to_avro(parsed)), kind, "again") == parsed
    assert from_avro(to_avro(parsed), kind) == parsed


def test_items_have_one_text_one_name_and_a_creation_time():
    more: list[dict[str, Any]] = [
        {"name": "CREATION_TIMESTAMP", "type": ["long", "null"]},
        {"name": "ABOUT", "type": ["null", "string"], "textual": True},
        {"name": "LABEL", "type": "string", "itemName": True},
    ]
    schema = parse_schema(text_of(Kind.ITEMS, *more), Kind.ITEMS, "items.avsc")
    assert schema.columns == ("item_id", "price", "creation_timestamp", "about", "title")
    assert [field.name for field in schema.metadata] == ["PRICE", "ABOUT", "LABEL"]


def test_texts_say_how_models_are_to_read_them():
    more: list[dict[str, Any]] = [
        {"name": "ABOUT", "type": "string", "textual": True, "embedding": "sentence"},
        {"name": "LABEL", "type": "string", "itemName": True, "embedding": "ngrams"},
    ]
    schema = parse_schema(text_of(Kind.ITEMS, *more), Kind.ITEMS, "items.avsc")
    about, label = schema.metadata[1:]
    assert (about.embedding, label.embedding) == (Embedding.SENTENCE, Embedding.NGRAMS)
    written = to_avro(schema)["fields"]
    assert [field.get("embedding") for field in written] == [None, None, "sentence", None]
    assert from_avro(to_avro(schema), Kind.ITEMS) == schema


def test_a_schema_is_read_from_a_file_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "schema.avsc"
    path.write_bytes(b"\xef\xbb\xbf" + INTERACTIONS.encode())
    assert read_schema(path, Kind.INTERACTIONS).columns[0] == "user_id"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(SchemaError, match="schema.avsc cannot be read"):
        read_schema(path, Kind.INTERACTIONS)
    with pytest.raises(SchemaError, match="No such file"):
        read_schema(tmp_path / "nowhere.avsc", Kind.INTERACTIONS)


BROKEN = {  # what is added to a good schema of interactions, and what is said of it
    "an array": ({"name": "TAGS", "type": {"type": "array", "items": "string"}}, '"array"'),
    "an unknown type": ({"name": "TAGS", "type": "text"}, 'has the type "text"'),
    "a record": ({"name": "TAGS", "type": "record", "fields": []}, 'has the type "record"'),
    "null alone": ({"name": "TAGS", "type": "null"}, "one type, alone or beside null"),
    "null twice": ({"name": "TAGS", "type": ["null", "null", "int"]}, "one type"),
    "two types": ({"name": "TAGS", "type": ["int", "string"]}, "one type"),
    "no type": ({"name": "TAGS"}, "has the type null"),
    "a number for a type": ({"name": "TAGS", "type": 7}, "has the type 7"),
    "no name": ({"type": "string"}, 'field 4 must have a "name"'),
    "a number for a name": ({"name": 7, "type": "string"}, "a text, not 7"),
    "no object": ("TAGS", "field 4 must be an object"),
    "an empty name": ({"name": "", "type": "string"}, "letters, digits and underscores"),
    "a space": ({"name": "MY TAGS", "type": "string"}, "field 4 (MY TAGS) has a name"),
    "an umlaut": ({"name": "GRÖSSE", "type": "string"}, "letters, digits and underscores"),
    "a digit first": ({"name": "2ND", "type": "string"}, "a letter first"),
    "a column of ours": ({"name": "SOURCE_ROW", "type": "long"}, "for a column of its own"),
    "one name twice": ({"name": "USER_ID", "type": "string"}, "USER_ID stands there 2 times"),
    "one name but for case": ({"name": "userId", "type": "string"}, "USER_ID and userId"),
    "a wrong type": ({"name": "EVENT_VALUE", "type": "string"}, "must be of type float or double"),
    "a categorical event type": (
        {"name": "EVENT_TYPE", "type": "string", "categorical": True},
        "can have none of categorical",
    ),
    "a textual field of interactions": (
        {"name": "NOTE", "type": "string", "textual": True},
        "only a string of items",
    ),
    "a categorical float": (
        {"name": "NOTE", "type": "double", "categorical": True},
        "double values are no categories",
    ),
    "true in quotation marks": (
        {"name": "NOTE", "type": "string", "categorical": "true"},
        'must have "categorical" as true or false, but it is "true"',
    ),
    "an embedding of a category": (
        {"name": "NOTE", "type": "string", "embedding": "sentence"},
        'NOTE) can have the embedding "sentence" only if it is textual or itemName',
    ),
    "an unknown embedding": (
        {"name": "NOTE", "type": "string", "embedding": "word2vec"},
        'must have "embedding" as "ngrams" or "sentence", but it is "word2vec"',
    ),
    "a misspelt embedding": (
        {"name": "NOTE", "type": "string", "embeddings": "sentence"},
        'is "embedding" meant?',
    ),
    "a misspelt attribute": (
        {"name": "NOTE", "type": "string", "categoricals": True},
        'is "categorical" meant?',
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_field_that_breaks_a_rule_is_named_with_what_is_wrong(case):
    field, words = BROKEN[case]
    assert words in faults(text_of(Kind.INTERACTIONS, field))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "one JSON object"),
        ("[" * 19_999, "is no JSON"),
        (" " * 20_001, "at most 20,000"),
        ('{"name": "a", "name": "b"}', "'name' stands twice"),
        ("{}", '"type" must be "record", but is null'),
        ('{"type": "record", "name": "Interactions", "fields": []}', "must be a list of fields"),
        (text_of(Kind.INTERACTIONS, name="Items"), "the schema of another table, items"),
        (text_of(Kind.INTERACTIONS, name="Clicks"), 'must be "Interactions", but is "Clicks"'),
        (text_of(Kind.INTERACTIONS, without="TIMESTAMP"), 'TIMESTAMP of type "long" is missing'),
    ],
)
def test_a_text_that_is_no_schema_is_refused(text, words):
    assert words in faults(text)


def test_all_that_is_wrong_is_said_at_once():
    message = faults(
        text_of(
            Kind.INTERACTIONS,
            {"name": "TAGS", "type": "text"},
            {"name": "NOTE", "type": "string", "textual": True},
            name="Items",
        )
    )
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(("kind", "most"), [("interactions", 5), ("items", 100), ("users", 25)])
def test_metadata_fields_are_bounded_and_reserved_ones_do_not_count(kind, most):
    kind = Kind(kind)
    given = len(REQUIRED[kind]) - (3 if kind is Kind.INTERACTIONS else 1)
    reserved = {
        Kind.INTERACTIONS: [{"name": "EVENT_TYPE", "type": "string"}],
        Kind.ITEMS: [{"name": "CREATION_TIMESTAMP", "type": "long"}],
        Kind.USERS: [],
    }[kind]
    more: list[dict[str, Any]] = [
        *reserved,
        *({"name": f"M{n}X", "type": "int"} for n in range(most - given)),
    ]
    assert len(parse_schema(text_of(kind, *more), kind, "x").metadata) == most
    more.append({"name": "ONE_TOO_MANY", "type": "int"})
    words = f"{kind} have at most {most}: leave out 1 of them (the last are ONE_TOO_MANY)"
    assert words in faults(text_of(kind, *more), kind)


def test_tables_of_items_and_users_need_something_beside_the_id():
    assert "at least one field beside USER_ID" in faults(
        text_of(Kind.USERS, without="AGE"), Kind.USERS
    )


@pytest.mark.parametrize("mark", ["textual", "itemName"])
def test_only_one_field_of_items_may_be_prose_and_one_the_name(mark):
    fields: list[dict[str, Any]] = [
        {"name": name, "type": "string", mark: True} for name in ("ABOUT", "MORE")
    ]
    assert f"only one field may be {mark}" in faults(text_of(Kind.ITEMS, *fields), Kind.ITEMS)


def test_a_name_of_items_takes_the_place_of_the_title():
    fields: list[dict[str, Any]] = [
        {"name": "TITLE", "type": "string"},
        {"name": "LABEL", "type": "string", "itemName": True},
    ]
    assert "TITLE and LABEL would be one column" in faults(text_of(Kind.ITEMS, *fields), Kind.ITEMS)


def test_a_schema_of_code_needs_no_json():
    schema = Schema(Kind.USERS, (Field("USER_ID", ValueType.STRING), Field("AGE", ValueType.LONG)))
    assert to_avro(schema)["fields"] == [
        {"name": "USER_ID", "type": "string"},
        {"name": "AGE", "type": "long"},
    ]
