"""Declared columns come through typed; a value that is not of its type costs its row."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.errors import SchemaError, SourceError
from raysys.logs.impressions import Impressions, impressions_in
from raysys.logs.layout import declared
from raysys.logs.schema import Field, Kind, Schema, ValueType
from tests.unit.logs.tools import csv_line, read_and_check, write

CORE = (
    Field("USER_ID", ValueType.STRING),
    Field("ITEM_ID", ValueType.STRING),
    Field("TIMESTAMP", ValueType.LONG),
)


def layout(*fields: Field, **called: str) -> Any:
    return declared(Schema(Kind.INTERACTIONS, (*CORE, *fields)), called)


def nullable(name: str, kind: ValueType, **marks: bool) -> Field:
    return Field(name, kind, is_nullable=True, **marks)


CONTEXT = layout(
    nullable("DEVICE", ValueType.STRING, is_categorical=True),
    nullable("SECONDS", ValueType.INT),
    nullable("VIEWS", ValueType.LONG),
    nullable("SHARE", ValueType.DOUBLE),
    nullable("IS_CHILD", ValueType.BOOLEAN),
)
HEADER = "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,SECONDS,VIEWS,SHARE,IS_CHILD"
NAMES = ["device", "seconds", "views", "share", "is_child"]


def read(path: Path, content: str | bytes, given: Any = CONTEXT) -> Any:
    return read_and_check(write(path / "log.csv", content), given)


def test_declared_columns_have_their_types_and_stand_behind_the_core(tmp_path):
    rows = [
        "u,i,1,tv|phone,2147483647,-9223372036854775808,0.5,true",
        'u,i,2,"a,b",-2147483648,9223372036854775807,1e3,FALSE',
        "u,i,3,, +7 ,12.0, .5 ,1",
        "u,i,4,NULL,nan,,nan,0",
    ]
    _, accepted, quarantine = read(tmp_path, "\n".join([HEADER, *rows]) + "\n")
    assert quarantine.num_rows == 0
    assert accepted.schema == CONTEXT.schema.shard_schema()
    assert [list(row.values()) for row in accepted.select(NAMES).to_pylist()] == [
        ["tv|phone", 2**31 - 1, -(2**63), 0.5, True],
        ["a,b", -(2**31), 2**63 - 1, 1000.0, False],
        [None, 7, 12, 0.5, True],
        [None, None, None, None, False],
    ]


BROKEN = {
    "a word for a whole number": ("d,soon,1,1,1", "bad_integer", "seconds", "SECONDS is 'soon'"),
    "a fraction": ("d,1.5,1,1,1", "bad_integer", "seconds", "whole number"),
    "more than 32 bits": ("d,2147483648,1,1,1", "bad_integer", "seconds", "32 bits"),
    "less than 32 bits": ("d,-2147483649,1,1,1", "bad_integer", "seconds", "-2147483649"),
    "more than 64 bits": ("d,1,9223372036854775808,1,1", "bad_integer", "views", "64 bits"),
    "a hexadecimal number": ("d,0x1F,1,1,1", "bad_integer", "seconds", "0x1F"),
    "digits with underscores": ("d,1_000,1,1,1", "bad_integer", "seconds", "1_000"),
    "an endless number": ("d,inf,1,1,1", "bad_integer", "seconds", "inf"),
    "a word for a number": ("d,1,1,half,1", "bad_number", "share", "SHARE is 'half'"),
    "an infinite number": ("d,1,1,-inf,1", "bad_number", "share", "finite"),
    "a word for a truth": ("d,1,1,1,yes", "bad_boolean", "is_child", "none of true, false"),
    "two for a truth": ("d,1,1,1,2", "bad_boolean", "is_child", "IS_CHILD is '2'"),
    "1,001 characters": ("é" * 1_001 + ",1,1,1,1", "value_too_long", "device", "1,000"),
    "a NUL": ("d\0,1,1,1,1", "nul_byte", "device", "DEVICE"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_value_that_is_not_of_its_type_costs_its_row_and_no_other(tmp_path, case):
    values, reason, column, words = BROKEN[case]
    good = "u,i,1,d,1,1,1,1"
    rows_in, accepted, quarantine = read(
        tmp_path, "\n".join([HEADER, good, f"u,i,2,{values}", good]) + "\n"
    )
    assert rows_in == 3
    assert accepted["source_row"].to_pylist() == [1, 3]
    (found,) = quarantine.to_pylist()
    assert (found["source_row"], found["reason"], found["column"]) == (2, reason, column)
    assert words in found["detail"]


def test_bytes_that_are_not_utf_8_cost_their_row(tmp_path):
    content = f"{HEADER}\nu,i,1,d,1,1,1,1\nu,i,2,\xe9,1,1,1,1\n".encode("latin-1")
    _, accepted, quarantine = read(tmp_path, content)
    assert accepted["source_row"].to_pylist() == [1]
    assert quarantine["reason"].to_pylist() == ["bad_encoding"]
    assert quarantine["column"].to_pylist() == ["device"]


@pytest.mark.parametrize(
    "field",
    [
        Field("EVENT_TYPE", ValueType.STRING),
        Field("EVENT_VALUE", ValueType.FLOAT),
        Field("EVENT_ID", ValueType.STRING),
        Field("IMPRESSION", ValueType.STRING),
        Field("DEVICE", ValueType.STRING),
        Field("SECONDS", ValueType.INT),
        Field("SHARE", ValueType.DOUBLE),
        Field("IS_CHILD", ValueType.BOOLEAN),
    ],
    ids=lambda field: field.name,
)
def test_null_is_allowed_where_the_schema_says_so_and_nowhere_else(tmp_path, field):
    content = f'USER_ID,ITEM_ID,TIMESTAMP,{field.name}\nu,i,1,\nu,i,2,""\nu,i,3,1\n'
    _, accepted, quarantine = read(tmp_path, content, layout(field))
    assert accepted["source_row"].to_pylist() == [3]
    assert quarantine["reason"].to_pylist() == ["null_value"] * 2
    assert quarantine["column"].to_pylist() == [field.column] * 2
    optional = Field(field.name, field.type, is_nullable=True)
    _, accepted, quarantine = read(tmp_path, content, layout(optional))
    assert (accepted.num_rows, quarantine.num_rows) == (3, 0)


def test_impressions_are_kept_as_they_stand_and_counted(tmp_path):
    impression = nullable("IMPRESSION", ValueType.STRING)
    shown = ["a|b|c", "", "a", "|a||b|", "x" * 1_000, "x" * 1_001]
    rows = [f"u,i,{n},{one}" for n, one in enumerate(shown)]
    content = "\n".join(["USER_ID,ITEM_ID,TIMESTAMP,IMPRESSION", *rows]) + "\n"
    _, accepted, quarantine = read(tmp_path, content, layout(impression))
    assert accepted["impression"].to_pylist() == ["a|b|c", None, "a", "|a||b|", "x" * 1_000]
    assert quarantine["reason"].to_pylist() == ["value_too_long"]
    assert impressions_in(accepted) == Impressions(rows=4, items=3 + 1 + 2 + 1)
    assert impressions_in(accepted.drop_columns("impression")) == Impressions()


def test_a_source_without_a_declared_column_is_refused_and_told_what_was_meant(tmp_path):
    path = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICES\nu,i,1,tv\n")
    with pytest.raises(SchemaError, match="no column DEVICE") as caught:
        read_and_check(path, layout(nullable("DEVICE", ValueType.STRING)))
    assert "Is 'DEVICES' meant by DEVICE?" in str(caught.value)
    assert "--column DEVICE=..." in str(caught.value)


def test_columns_that_a_schema_does_not_declare_are_not_read(tmp_path):
    content = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\nu,i,1,click\n"
    _, accepted, _ = read(tmp_path, content, layout())
    assert accepted["event_type"].to_pylist() == [None]


def test_a_column_is_read_from_where_it_is_told_to_be(tmp_path):
    content = "viewer,ITEM_ID,user_id,Platform,TIMESTAMP\nann,i,7,tv,1\n"
    told = layout(nullable("DEVICE", ValueType.STRING), user_id="viewer", device="platform")
    _, accepted, _ = read(tmp_path, content, told)
    assert accepted["user_id"].to_pylist() == ["ann"]
    assert accepted["device"].to_pylist() == ["tv"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1.0, None, 3.0]), ValueType.LONG, [1, None, 3]),
        (pa.array([1, None, 3], pa.uint64()), ValueType.INT, [1, None, 3]),
        (pa.array([1, None, 3], pa.int8()), ValueType.DOUBLE, [1.0, None, 3.0]),
        (pa.array(["1", None, "3"]), ValueType.LONG, [1, None, 3]),
        (pa.array([True, None, False]), ValueType.BOOLEAN, [True, None, False]),
        (pa.array([True, None, False]), ValueType.STRING, ["true", None, "false"]),
        (pa.array([1, None, 0]), ValueType.BOOLEAN, [True, None, False]),
        (pa.array([7, None, 8]), ValueType.STRING, ["7", None, "8"]),
        (pa.array([["a", "b"], None, []]), ValueType.STRING, ["a|b", None, None]),
        (pa.array([["a", None], None, ["c"]]), ValueType.STRING, ["a", None, "c"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ValueType.STRING, ["a", None, "a"]),
    ],
)
def test_typed_sources_give_the_declared_type(tmp_path, values, kind, expected):
    path = tmp_path / "log.parquet"
    columns = {"USER_ID": ["u"] * 3, "ITEM_ID": ["i"] * 3, "TIMESTAMP": [1, 2, 3], "M": values}
    pq.write_table(pa.table(columns), path)
    _, accepted, quarantine = read_and_check(path, layout(nullable("M", kind)))
    assert quarantine.num_rows == 0
    assert accepted["m"].to_pylist() == expected
    assert accepted["m"].type == kind.arrow


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([{"a": 1}]), ValueType.STRING),
        (pa.array([1], pa.timestamp("us")), ValueType.LONG),
        (pa.array([1.5]), ValueType.BOOLEAN),
        (pa.array([[1, 2]]), ValueType.STRING),
    ],
)
def test_a_typed_source_of_another_type_is_refused_before_a_row_is_read(tmp_path, values, kind):
    path = tmp_path / "log.parquet"
    columns = {"USER_ID": ["u"], "ITEM_ID": ["i"], "TIMESTAMP": [1], "M": values}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SourceError, match="column M is of type"):
        read_and_check(path, layout(nullable("M", kind)))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8)
values = st.one_of(
    texts, st.integers(-(2**70), 2**70).map(str), st.floats().map(str), st.sampled_from(["TRUE"])
)
right = (  # for each declared column something that may stand there
    texts,
    st.integers(-(2**31), 2**31 - 1).map(str),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["", "TRUE", "false", "0"]),
)
declared_rows = st.tuples(*right) | st.tuples(*(one | values for one in right))


@settings(max_examples=30)
@given(st.lists(declared_rows, max_size=12))
def test_whatever_stands_in_declared_columns_every_row_comes_out_once(rows):
    lines = [csv_line(["u", "i", "1", *row]) for row in rows]
    with TemporaryDirectory() as directory:
        rows_in, accepted, quarantine = read(
            Path(directory), ("\n".join([HEADER, *lines]) + "\n").encode()
        )
    assert rows_in == len(rows) == accepted.num_rows + quarantine.num_rows
    for number, seconds, views, share in zip(
        accepted["source_row"].to_pylist(),
        accepted["seconds"].to_pylist(),
        accepted["views"].to_pylist(),
        accepted["share"].to_pylist(),
        strict=True,
    ):
        row = rows[number - 1]
        assert seconds is None or float(row[1]) == seconds
        assert views is None or float(row[2]) == views or int(row[2]) == views
        assert share is None or float(row[3]) == share
