"""Logs and tables as JSON lines: every line accounted for, every value as its text."""

import gzip
import json

import pytest

from raysys.errors import SourceError
from raysys.logs.catalogue import inspect_catalogue, read_catalogue
from raysys.logs.delimited import read_text
from raysys.logs.formats import JSON
from raysys.logs.readers import inspect_source
from tests.unit.logs.tools import ITEMS, LOG, log_at, read_and_check, table_at, write

GOOD = '{"USER_ID": "a", "ITEM_ID": "b", "TIMESTAMP": 5}'


def lines(*rows):
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


def row(user="a", item="b", time=5, **more):
    return {"USER_ID": user, "ITEM_ID": item, "TIMESTAMP": time, **more}


def reasons(quarantine):
    return dict(
        zip(quarantine["source_row"].to_pylist(), quarantine["reason"].to_pylist(), strict=True)
    )


def test_every_kind_of_value_is_read_as_the_text_it_stands_for(tmp_path):
    content = lines(
        row(7, "007", 1_600_000_000.25, EVENT_TYPE="click", EVENT_VALUE=3, EVENT_ID=12),
        row("12.0", "ü", "1600000000", EVENT_TYPE=None, EVENT_VALUE="2.5"),
        row(2**70, " b ", 1_600_000_000),
    )
    rows_in, accepted, _ = read_and_check(write(tmp_path / "log.jsonl", content))
    assert rows_in == 3
    assert accepted["user_id"].to_pylist() == ["7", "12.0", str(2**70)]  # a text may look so
    assert accepted["item_id"].to_pylist() == ["007", "ü", " b "]
    assert accepted["event_type"].to_pylist() == ["click", None, None]
    assert accepted["event_value"].to_pylist() == [3.0, 2.5, None]
    assert accepted["event_id"].to_pylist() == ["12", None, None]
    assert [at.timestamp() for at in accepted["occurred_at"].to_pylist()] == [
        1_600_000_000.25,
        1_600_000_000,
        1_600_000_000,
    ]


def test_keys_are_found_in_any_case_and_order_and_others_are_named(tmp_path):
    path = write(
        tmp_path / "log.ndjson", '{"timestamp":5,"device":{"a":[1]},"Item_Id":"b","user_id":"a"}'
    )
    _, accepted, _ = read_and_check(path)
    assert accepted.select(["user_id", "item_id"]).to_pylist() == [{"user_id": "a", "item_id": "b"}]
    assert inspect_source(log_at(path), LOG)[1] == [
        "log.ndjson: not read, since no known column has that name: 'device'. A "
        "schema can declare it: see `raysys schema`."
    ]


def test_a_line_that_cannot_be_used_is_refused_alone_with_its_number_and_text(tmp_path):
    faults = {
        2: ('{"USER_ID": "a", "ITEM_ID": "b", "TIMES', "bad_json"),
        3: ("[1, 2]", "bad_json"),
        4: (json.dumps(row(12.0)), "float_id"),
        5: (json.dumps(row({"id": 1})), "wrong_type"),
        6: (json.dumps(row(True)), "wrong_type"),
        7: (json.dumps(row(EVENT_TYPE=3)), "wrong_type"),
        8: (json.dumps(row(None)), "null_id"),
        9: ('{"ITEM_ID": "b", "TIMESTAMP": 5}', "null_id"),
        10: (json.dumps(row(time="soon")), "bad_timestamp"),
        11: (json.dumps(row(EVENT_VALUE=[1])), "wrong_type"),
        12: (json.dumps(row("x\0")), "nul_byte"),
        13: ('{"USER_ID": NaN, "ITEM_ID": "b", "TIMESTAMP": 5}', "bad_json"),
        14: ('{"USER_ID": "\\ud800", "ITEM_ID": "b", "TIMESTAMP": 5}', "bad_json"),
        15: ("[" * 100_000, "bad_json"),
    }
    content = lines(GOOD, *(text for text, _ in faults.values()), GOOD)
    rows_in, accepted, quarantine = read_and_check(write(tmp_path / "log.json", content))
    assert rows_in == 16
    assert accepted["source_row"].to_pylist() == [1, 16]
    assert reasons(quarantine) == {number: reason for number, (_, reason) in faults.items()}
    texts = dict(
        zip(quarantine["source_row"].to_pylist(), quarantine["row"].to_pylist(), strict=True)
    )
    assert texts == {number: text for number, (text, _) in faults.items()}
    details = quarantine["detail"].to_pylist()
    assert details[3] == 'USER_ID is {"id":1}: A value of this kind cannot stand in this column.'


def test_bytes_that_are_no_utf8_cost_their_line_alone(tmp_path):
    content = (
        GOOD.encode() + b"\n" + GOOD.encode().replace(b'"a"', b'"\xff"') + b"\r\n\n" + GOOD.encode()
    )
    rows_in, accepted, quarantine = read_and_check(write(tmp_path / "log.jsonl", content))
    assert (rows_in, accepted["source_row"].to_pylist()) == (3, [1, 3])
    assert reasons(quarantine) == {2: "bad_encoding"}


def test_an_optional_key_may_appear_late_and_in_either_case(tmp_path):
    path = write(
        tmp_path / "log.jsonl",
        lines(*[row()] * 2000, row(event_value=1), row(EVENT_VALUE=2), row(EVENT_TYPE="buy")),
    )
    _, accepted, _ = read_and_check(path)
    assert accepted["event_value"].to_pylist()[-3:] == [1, 2, None]
    assert accepted["event_type"].to_pylist()[-2:] == [None, "buy"]


@pytest.mark.parametrize("chunk_bytes", [60, 200, 100_000])
def test_line_numbers_go_on_from_one_piece_of_the_file_to_the_next(tmp_path, chunk_bytes):
    rows = [row(f"u{n}") if n % 10 else "broken" for n in range(1, 101)]
    source = log_at(write(tmp_path / "log.jsonl", lines(*rows)))
    batches = list(read_text(source, JSON, LOG, chunk_bytes=chunk_bytes))
    read = {
        number: user.decode()
        for batch in batches
        for number, user in zip(
            batch.rows.tolist(), batch.columns["user_id"].to_pylist(), strict=True
        )
    }
    assert read == {n: f"u{n}" for n in range(1, 101) if n % 10}
    assert [one.row for batch in batches for one in batch.refused] == list(range(10, 101, 10))


def test_packed_lines_read_like_plain_ones(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*[row()] * 1000).encode()))
    rows_in, accepted, _ = read_and_check(path)
    assert (rows_in, accepted.num_rows) == (1000, 1000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps([row(), row()]), r"no JSON object .* `jq -c '\.\[\]' FILE`"),
        (json.dumps(row(), indent=2), "over several lines"),
        ("USER_ID,ITEM_ID,TIMESTAMP\na,b,5\n", r"begins with 'USER_ID,ITEM_ID"),
        ("\n\n", "no JSON object with keys"),
        ('{"USER_ID": "a", "ITEM_ID": "b"}', "no column TIMESTAMP"),
        ('{"USER_ID": "a", "user_id": "b", "ITEM_ID": 1, "TIMESTAMP": 1}', "USER_ID 2 times"),
        ("{}\n{}", "no JSON object with keys"),
    ],
)
def test_a_file_that_is_not_json_lines_of_interactions_is_refused_with_what_to_do(
    tmp_path, content, words
):
    path = write(tmp_path / "log.json", content)
    with pytest.raises(SourceError, match=words):
        inspect_source(log_at(path), LOG)


def test_a_table_of_items_keeps_types_that_agree_and_joins_lists(tmp_path):
    path = write(
        tmp_path / "items.jsonl",
        lines(
            {"ITEM_ID": 7, "Title": "Seven", "genres": ["a", "b"], "price": 1.5, "year": 1995},
            {"ITEM_ID": "8", "genres": "c", "price": 2, "stars": "many", "big": 2**70},
            "no object",
            {"ITEM_ID": "8", "stars": 5},
            {"stars": 4},
        ),
    )
    inspect_catalogue(table_at(path), ITEMS)
    items = read_catalogue(table_at(path), ITEMS)
    assert items.table.to_pylist() == [
        {
            "item_id": "7",
            "title": "Seven",
            "genres": "a|b",
            "price": 1.5,
            "year": 1995,
            "stars": None,
            "big": None,
        },
        {
            "item_id": "8",
            "title": None,
            "genres": "c",
            "price": 2.0,
            "year": None,
            "stars": "many",
            "big": str(2**70),
        },
    ]
    assert items.notices == [
        "items.jsonl: 1 lines were left out, since they are no objects.",
        "items.jsonl: 1 rows were left out, since their ITEM_ID cannot be used (null_id), "
        "the first of them row 5.",
        "items.jsonl: 1 rows were left out, since their id came before.",
    ]
