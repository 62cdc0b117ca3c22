"""Broken files as people really send them, and what an import is to make of each.

Good rows are given as row number -> (user, item, seconds), bad ones as row number -> reason. A row
that is in neither is a duplicate.
"""

import gzip
import json
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from raysys.logs.layout import Layout, declared
from raysys.logs.schema import Field, Kind, Schema, ValueType

HEADER = b"USER_ID,ITEM_ID,TIMESTAMP\n"
GOOD = {1: ("a", "x", 1), 3: ("b", "y", 3)}
"""Of a file whose first and third row are `a,x,1` and `b,y,3`."""

Row = tuple[str, str, float]


@dataclass(frozen=True)
class Broken:
    """One file, what is kept of it, what is quarantined and why, or the error it ends with."""

    name: str
    content: bytes
    good: dict[int, Row] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    duplicates: int = 0
    error: str = ""
    """A pattern in the message of the SourceError; empty: the import succeeds."""
    layouts: tuple[Layout, ...] = ()
    """What the user said of the columns."""


def around(row: bytes, reason: str, header: bytes = HEADER) -> Broken:
    """Return a CSV file whose second row is broken, between two good ones."""
    more = b"," * (header.count(b",") - 2)
    content = header + b"a,x,1" + more + b"\n" + row + b"\nb,y,3" + more + b"\n"
    return Broken("log.csv", content, GOOD, {2: reason})


def csv(content: bytes, **outcome: object) -> Broken:
    return Broken("log.csv", content, **outcome)  # type: ignore[arg-type]


def lines(content: bytes, **outcome: object) -> Broken:
    return Broken("log.jsonl", content, **outcome)  # type: ignore[arg-type]


def parquet(
    *, cut: int | None = None, row_group_size: int | None = None, **columns: object
) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, row_group_size=row_group_size)
    return sink.getvalue().to_pybytes()[:cut]


def one(user: object = "a", item: object = "x", at: object = 1) -> bytes:
    return json.dumps({"USER_ID": user, "ITEM_ID": item, "TIMESTAMP": at}).encode() + b"\n"


WIDE = b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,EVENT_ID\n"
TWO = {1: ("a", "x", 1), 2: ("b", "y", 2)}
THREE = {**TWO, 3: ("c", "z", 3)}
PACKED = gzip.compress(HEADER + b"".join(b"u%d,i%d,%d\n" % (n * 7919, n, n) for n in range(500)))

ENCODINGS = {
    "a byte order mark": csv(b"\xef\xbb\xbf" + HEADER + b"a,x,1\n", good={1: ("a", "x", 1)}),
    "UTF-16": csv((HEADER + b"a,x,1\n").decode().encode("utf-16"), error="a text in UTF-16"),
    "UTF-16 without a mark": csv(
        (HEADER + b"a,x,1\n").decode().encode("utf-16-le"), error="no col"
    ),
    "Latin 1 in an id": around(b"Andr\xe9,x,2", "bad_encoding"),
    "Latin 1 in a time": around(b"u,x,2\xb0", "bad_timestamp"),
    "Latin 1 in an event type": around(b"u,x,2,\xe9t\xe9,,", "bad_encoding", WIDE),
    "half a surrogate": around(b"\xed\xa0\x80,x,2", "bad_encoding"),
    "an overlong slash": around(b"\xc0\xaf,x,2", "bad_encoding"),
    "bytes in a column that nobody reads": csv(
        b"USER_ID,NOTE,ITEM_ID,TIMESTAMP\na,\xff\xfe,x,1\nb,\0,y,2\n", good=TWO
    ),
    "a character cut in half at the end": csv(
        HEADER + b"a,x,1\nb,\xc3", good={1: ("a", "x", 1)}, bad={2: "wrong_column_count"}
    ),
    "ids beyond the basic plane": csv(
        HEADER + "𝔲,🎬,1\nb,y,2\n".encode(), good={1: ("𝔲", "🎬", 1), 2: ("b", "y", 2)}
    ),
}

NULS = {
    "a NUL in a user": around(b"u\0v,x,2", "nul_byte"),
    "a NUL in an item": around(b"u,\0,2", "nul_byte"),
    "a NUL in a time": around(b"u,x,2\0", "bad_timestamp"),
    "a NUL in an event id": around(b"u,x,2,,,\0", "nul_byte", WIDE),
    "a row of NULs, as after a crash": around(b"\0" * 4096, "wrong_column_count"),
    "nothing but NULs": csv(b"\0" * 4096, error="no column USER_ID"),
}

LINES = {
    "carriage returns and line feeds": csv(
        HEADER.replace(b"\n", b"\r\n") + b"a,x,1\r\nb,y,2\r\n", good=TWO
    ),
    "carriage returns alone": csv(HEADER.replace(b"\n", b"\r") + b"a,x,1\rb,y,2\r", good=TWO),
    "mixed line ends": csv(HEADER + b"a,x,1\r\nb,y,2\rc,z,3\n", good=THREE),
    "no line end at the end": csv(HEADER + b"a,x,1\nb,y,2", good=TWO),
    "empty lines": csv(b"\n\n" + HEADER + b"\n\r\na,x,1\n\n\nb,y,2\n\n", good=TWO),
    "a form feed is no line end": around(b"u\x0cv,x", "wrong_column_count"),
    "a line separator is no line end": csv(
        HEADER + "a,x\u2028,1\n".encode(), good={1: ("a", "x\u2028", 1)}
    ),
}

ROWS = {
    "half a row": csv(
        HEADER + b"a,x,1\nb,y", good={1: ("a", "x", 1)}, bad={2: "wrong_column_count"}
    ),
    "a row cut in its time is a row": csv(HEADER + b"a,x,1\nb,y,2", good=TWO),
    "a column too many": around(b"u,x,2,more", "wrong_column_count"),
    "a comma at the end of a row": around(b"u,x,2,", "wrong_column_count"),
    "nothing but commas": around(b",,", "null_id"),
    "a space alone": around(b" ", "wrong_column_count"),
    "the header again": around(HEADER.strip(), "repeated_header"),
    "a line of hyphens, as of a database client": around(b"---+---+---", "wrong_column_count"),
    "the count of rows, as of a database client": around(b"(2 rows)", "wrong_column_count"),
    "a row of ten megabytes": around(b"u," + b"x" * 10_000_000 + b",2", "row_too_long"),
    "a row of three megabytes": around(b"u," + b"x" * 3_000_000 + b",2", "id_too_long"),
    "ten thousand columns": around(b"," * 10_000, "wrong_column_count"),
}

QUOTES = {
    "a quote that is never closed": csv(
        HEADER + b'a,x,1\n"u,x,2\nb,y,3\n', good=GOOD, bad={2: "unclosed_quote"}
    ),
    "a quote that a later one closes, which makes one field": csv(
        HEADER + b'a,x,1\nu,"x,2\nv,y,3\nb,"z,4\nc,w,5\n',
        good={1: ("a", "x", 1), 2: ("u", "x,2\nv,y,3\nb,z", 4), 3: ("c", "w", 5)},
    ),
    "a quote in the middle of a field": csv(
        HEADER + b'a,6" nails,1\n', good={1: ("a", '6" nails', 1)}
    ),
    "text behind a closed quote": csv(HEADER + b'a,"x"y,1\n', good={1: ("a", "xy", 1)}),
    "doubled quotes": csv(HEADER + b'a,"say ""x""",1\n', good={1: ("a", 'say "x"', 1)}),
    "a line feed in a quoted id": csv(
        HEADER + b'"a\nb",x,1\nb,y,2\n', good={1: ("a\nb", "x", 1), 2: ("b", "y", 2)}
    ),
    "a comma in a quoted id": csv(HEADER + b'"a,b",x,1\n', good={1: ("a,b", "x", 1)}),
    "single quotes quote nothing": csv(HEADER + b"'a','x',1\n", good={1: ("'a'", "'x'", 1)}),
    "everything quoted": csv(
        b'"USER_ID","ITEM_ID","TIMESTAMP"\n"a","x","1"\n', good={1: ("a", "x", 1)}
    ),
    "a backslash escapes nothing": csv(HEADER + b"a,x\\,1\n", good={1: ("a", "x\\", 1)}),
}

VALUES = {
    "no user": around(b",x,2", "null_id"),
    "an empty text for a user": around(b'"",x,2', "empty_id"),
    "white space for an item": around(b"u, \t,2", "empty_id"),
    "a no-break space for a user": around("\u00a0,x,2".encode(), "empty_id"),
    "a NULL of SQL": around(b"NULL,x,2", "null_id"),
    "a NULL of MySQL": around(b"u,\\N,2", "null_id"),
    "a float for an id": around(b"12.0,x,2", "float_id"),
    "an id of 257 characters": around("é".encode() * 257 + b",x,2", "id_too_long"),
    "an id of 256 characters": csv(
        HEADER + "é".encode() * 256 + b",x,1\n", good={1: ("é" * 256, "x", 1)}
    ),
    "ids that look like other things": csv(
        HEADER + b"NaN,None,1\n1e5,007,2\n=1+1,<b>,3\n",
        good={1: ("NaN", "None", 1), 2: ("1e5", "007", 2), 3: ("=1+1", "<b>", 3)},
    ),
    "no time": around(b"u,x,", "null_timestamp"),
    "a date for a time": around(b"u,x,2024-01-01", "bad_timestamp"),
    "NaN for a time": around(b"u,x,NaN", "bad_timestamp"),
    "infinity for a time": around(b"u,x,inf", "bad_timestamp"),
    "a thousands separator in a time": around(b'u,x,"1,000"', "bad_timestamp"),
    "a hexadecimal time": around(b"u,x,0x10", "bad_timestamp"),
    "Arabic digits for a time": around("u,x,١٢".encode(), "bad_timestamp"),
    "a time before 1970": around(b"u,x,-1", "negative_timestamp"),
    "a time in milliseconds": around(b"u,x,1700000000000", "timestamp_out_of_range"),
    "a time of 400 digits": around(b"u,x," + b"9" * 400, "bad_timestamp"),
    "a time with an exponent": csv(HEADER + b"a,x,1e0\n", good={1: ("a", "x", 1)}),
    "an event type of 257 characters": around(
        b"u,x,2," + b"t" * 257 + b",,", "event_type_too_long", WIDE
    ),
    "a word for an event value": around(b"u,x,2,,good,", "bad_event_value", WIDE),
    "infinity for an event value": around(b"u,x,2,,-inf,", "bad_event_value", WIDE),
    "an event value too large for a float": around(b"u,x,2,,1e400,", "bad_event_value", WIDE),
    "NaN for an event value is none": csv(WIDE + b"a,x,1,,NaN,\n", good={1: ("a", "x", 1)}),
    "an event id of 257 characters": around(b"u,x,2,,," + b"e" * 257, "id_too_long", WIDE),
}

HEADERS = {
    "a column twice": csv(b"USER_ID,user_id,ITEM_ID,TIMESTAMP\na,a,x,1\n", error="USER_ID 2 times"),
    "a column too few": csv(b"USER_ID,ITEM_ID\na,x\n", error="no column TIMESTAMP"),
    "another case, order and spaces": csv(
        b" timestamp ,Item_Id,user_id\n1,x,a\n", good={1: ("a", "x", 1)}
    ),
    "no header line": csv(b"196,242,881250949\n", error="first line looks like data"),
    "semicolons": csv(b"USER_ID;ITEM_ID;TIMESTAMP\na;x;1\n", error="separated by semicolons"),
    "tabs": csv(b"USER_ID\tITEM_ID\tTIMESTAMP\na\tx\t1\n", error="separated by tabs"),
    "more columns than the rows have": csv(
        b"USER_ID,ITEM_ID,TIMESTAMP,NOTE\na,x,1\nb,y,2\n",
        error="none of 2 rows.*wrong_column_count",
    ),
    "fewer columns than the rows have": csv(
        HEADER + b"a,x,1,note\nb,y,2,note\n", error="none of 2 rows.*wrong_column_count"
    ),
    "a header alone": csv(HEADER, error="there is no row"),
    "an open quote in the header": csv(b'"USER_ID,ITEM_ID,TIMESTAMP\na,x,1\n', error="header line"),
    "nothing": csv(b"", error="is empty"),
    "empty lines only": csv(b"\n\r\n\n", error="only empty lines"),
    "an HTML page, as of a failed download": csv(
        b"<!DOCTYPE html>\n<html><body>403</body></html>\n", error="no column USER_ID"
    ),
}

DUPLICATES = {
    "a row three times": csv(
        HEADER + b"a,x,1\na,x,1\nb,y,2\na,x,1.0\n",
        good={1: ("a", "x", 1), 3: ("b", "y", 2)},
        duplicates=2,
    ),
    "an event id of another row": csv(
        WIDE + b"a,x,1,,,e\nb,y,2,,,e\nc,z,3,,,f\n",
        good={1: ("a", "x", 1), 3: ("c", "z", 3)},
        duplicates=1,
    ),
    "a broken row twice is broken twice": csv(
        HEADER + b"a,x,1\n,x,1\n,x,1\n", good={1: ("a", "x", 1)}, bad={2: "null_id", 3: "null_id"}
    ),
}

PACKINGS = {
    "gzip cut off": Broken("log.csv.gz", PACKED[:-40], error="cannot be read to its end"),
    "gzip with a wrong byte": Broken(
        "log.csv.gz", PACKED[:900] + b"\x55" * 30 + PACKED[930:], error="cannot be read to its end"
    ),
    "no gzip in spite of the name": Broken(
        "log.csv.gz", HEADER + b"a,x,1\n", error="take .gz off its name"
    ),
    "gzip without the name": Broken("log.csv", PACKED, error="log.csv is a gzip file"),
    "gzip followed by garbage": Broken(
        "log.csv.gz", PACKED + b"garbage", error="no gzip file, or not to its end"
    ),
    "two gzip files put together": Broken(
        "log.csv.gz", gzip.compress(HEADER + b"a,x,1\n") + gzip.compress(b"b,y,2\n"), good=TWO
    ),
    "gzip of nothing": Broken("log.csv.gz", gzip.compress(b""), error="no header line"),
}

PARQUET = {
    "no Parquet in spite of the name": Broken(
        "log.parquet", b"PAR1" + b"x" * 99, error="not a complete"
    ),
    "Parquet cut off": Broken(
        "log.parquet",
        parquet(cut=-20, USER_ID=["a"], ITEM_ID=["x"], TIMESTAMP=[1]),
        error="not a complete",
    ),
    "Parquet without rows": Broken(
        "log.parquet",
        parquet(
            USER_ID=pa.array([], pa.string()),
            ITEM_ID=pa.array([], pa.string()),
            TIMESTAMP=pa.array([], pa.int64()),
        ),
        error="there is no row",
    ),
    "nulls everywhere": Broken(
        "log.parquet",
        parquet(
            USER_ID=["a", None, "u", "v"], ITEM_ID=["x", "y", None, "z"], TIMESTAMP=[1, 2, 3, None]
        ),
        {1: ("a", "x", 1)},
        {2: "null_id", 3: "null_id", 4: "null_timestamp"},
    ),
    "floats for ids": Broken(
        "log.parquet",
        parquet(USER_ID=[1.0, float("nan")], ITEM_ID=["x", "y"], TIMESTAMP=[1, 2]),
        error="none of 2 rows.*float_id",
    ),
    "NaN and infinity for times": Broken(
        "log.parquet",
        parquet(
            USER_ID=["a", "u", "v"], ITEM_ID=["x"] * 3, TIMESTAMP=[1.0, float("nan"), float("inf")]
        ),
        {1: ("a", "x", 1)},
        {2: "bad_timestamp", 3: "bad_timestamp"},
    ),
    "text that is no UTF-8": Broken(
        "log.parquet",
        parquet(
            USER_ID=pa.array([b"a", b"\xff"]).view(pa.string()),
            ITEM_ID=["x", "y"],
            TIMESTAMP=[1, 2],
        ),
        {1: ("a", "x", 1)},
        {2: "bad_encoding"},
    ),
    "lists for ids": Broken(
        "log.parquet", parquet(USER_ID=[["a"]], ITEM_ID=["x"], TIMESTAMP=[1]), error="of type list"
    ),
    "a column of truth values for ids": Broken(
        "log.parquet", parquet(USER_ID=[True], ITEM_ID=["x"], TIMESTAMP=[1]), error="of type bool"
    ),
    "the largest number for a time": Broken(
        "log.parquet",
        parquet(
            USER_ID=["a", "b"], ITEM_ID=["x", "y"], TIMESTAMP=pa.array([1, 2**64 - 1], pa.uint64())
        ),
        {1: ("a", "x", 1)},
        {2: "timestamp_out_of_range"},
    ),
    "numbers of rows across row groups": Broken(
        "log.parquet",
        parquet(
            row_group_size=2,
            USER_ID=["a", None, "c", None, "e"],
            ITEM_ID=["x"] * 5,
            TIMESTAMP=[1] * 5,
        ),
        {1: ("a", "x", 1), 3: ("c", "x", 1), 5: ("e", "x", 1)},
        {2: "null_id", 4: "null_id"},
    ),
}

JSON_LINES = {
    "a line that is no JSON": lines(
        one() + b"{'USER_ID': 'b'}\n" + one("c", "z", 3),
        good={1: ("a", "x", 1), 3: ("c", "z", 3)},
        bad={2: "bad_json"},
    ),
    "half a line": lines(one() + one()[:20], good={1: ("a", "x", 1)}, bad={2: "bad_json"}),
    "a list for an object": lines(
        one() + b'["a", "x", 1]\n', good={1: ("a", "x", 1)}, bad={2: "bad_json"}
    ),
    "null for an object": lines(one() + b"null\n", good={1: ("a", "x", 1)}, bad={2: "bad_json"}),
    "NaN is no JSON": lines(
        one() + b'{"USER_ID": "b", "ITEM_ID": "y", "TIMESTAMP": NaN}\n',
        good={1: ("a", "x", 1)},
        bad={2: "bad_json"},
    ),
    "an object for an id": lines(
        one() + one({"id": 1}), good={1: ("a", "x", 1)}, bad={2: "wrong_type"}
    ),
    "a list for a time": lines(
        one() + one("b", "y", [1]), good={1: ("a", "x", 1)}, bad={2: "wrong_type"}
    ),
    "a truth value for an id": lines(
        one() + one(True), good={1: ("a", "x", 1)}, bad={2: "wrong_type"}
    ),
    "a float for an id of JSON": lines(
        one() + one(7.0), good={1: ("a", "x", 1)}, bad={2: "float_id"}
    ),
    "a whole number for an id": lines(one(7), good={1: ("7", "x", 1)}),
    "a number of 40 digits for an id": lines(one(10**40), good={1: ("1" + "0" * 40, "x", 1)}),
    "a missing key": lines(
        one() + b'{"ITEM_ID": "y", "TIMESTAMP": 2}\n', good={1: ("a", "x", 1)}, bad={2: "null_id"}
    ),
    "an escaped NUL": lines(one() + one("u\0"), good={1: ("a", "x", 1)}, bad={2: "nul_byte"}),
    "an escaped half surrogate": lines(
        one() + b'{"USER_ID": "\\ud800", "ITEM_ID": "y", "TIMESTAMP": 2}\n',
        good={1: ("a", "x", 1)},
        bad={2: "bad_json"},
    ),
    "bytes that are no UTF-8": lines(
        one() + b'{"USER_ID": "\xff", "ITEM_ID": "y", "TIMESTAMP": 2}\n',
        good={1: ("a", "x", 1)},
        bad={2: "bad_encoding"},
    ),
    "a key twice": lines(
        b'{"USER_ID": "a", "ITEM_ID": "q", "ITEM_ID": "x", "TIMESTAMP": 1}\n',
        good={1: ("a", "x", 1)},
    ),
    "a hundred thousand brackets": lines(
        one() + b'{"USER_ID": ' + b"[" * 100_000 + b"\n" + one("b", "y", 3),
        good=GOOD,
        bad={2: "bad_json"},
    ),
    "one object over several lines": lines(b'{\n"USER_ID": "a"\n}\n', error="one whole object"),
    "a JSON array": Broken("log.json", b"[" + one().strip() + b"]", error="jq -c"),
}

RECBOLE = {
    "quotes mean nothing": Broken(
        "log.inter",
        b'user_id:token\titem_id:token\ttimestamp:float\n"a\tx"\t1\n',
        {1: ('"a', 'x"', 1)},
    ),
    "spaces for tabs": Broken(
        "log.inter", b"user_id:token item_id:token timestamp:float\na x 1\n", error="no column"
    ),
    "half a row of RecBole": Broken(
        "log.inter",
        b"user_id:token\titem_id:token\ttimestamp:float\na\tx\t1\nb\ty\n",
        {1: ("a", "x", 1)},
        {2: "wrong_column_count"},
    ),
}

CONTEXT = declared(
    Schema(
        Kind.INTERACTIONS,
        (
            Field("USER_ID", ValueType.STRING),
            Field("ITEM_ID", ValueType.STRING),
            Field("TIMESTAMP", ValueType.LONG),
            Field("DEVICE", ValueType.STRING, is_categorical=True),
            Field("SECONDS", ValueType.INT, is_nullable=True),
            Field("SHARE", ValueType.DOUBLE, is_nullable=True),
            Field("IS_CHILD", ValueType.BOOLEAN, is_nullable=True),
        ),
    )
)
DECLARED = b"USER_ID,ITEM_ID,TIMESTAMP,DEVICE,SECONDS,SHARE,IS_CHILD\n"


def context(row: bytes, reason: str) -> Broken:
    good = [b"a,x,1,tv,1,0.5,true\n", b"b,y,3,tv,,,\n"]
    content = DECLARED + good[0] + b"u,x,2," + row + b"\n" + good[1]
    return Broken("log.csv", content, GOOD, {2: reason}, layouts=(CONTEXT,))


SCHEMAS = {
    "no value where the schema demands one": context(b",1,1,1", "null_value"),
    "a word for a declared whole number": context(b"tv,soon,1,1", "bad_integer"),
    "a fraction for a declared whole number": context(b"tv,1.5,1,1", "bad_integer"),
    "more than 32 bits": context(b"tv,2147483648,1,1", "bad_integer"),
    "a word for a declared number": context(b"tv,1,half,1", "bad_number"),
    "a declared number beyond all floats": context(b"tv,1,1e999,1", "bad_number"),
    "a word for a truth": context(b"tv,1,1,yes", "bad_boolean"),
    "a category of 1,001 characters": context(b"t" * 1_001 + b",1,1,1", "value_too_long"),
    "a category that is no UTF-8": context(b"t\xff,1,1,1", "bad_encoding"),
    "a NUL in a category": context(b"t\0,1,1,1", "nul_byte"),
    "a header without a declared column": replace(
        csv(b"USER_ID,ITEM_ID,TIMESTAMP,DEVICE\na,x,1,tv\n", error="no column SECONDS"),
        layouts=(CONTEXT,),
    ),
    "a header with a declared column twice": replace(
        csv(b"device," + DECLARED + b"tv,a,x,1,tv,1,1,1\n", error="DEVICE 2 times"),
        layouts=(CONTEXT,),
    ),
    "a header with columns that are not declared": replace(
        csv(b"NOTE," + DECLARED + b"n,a,x,1,tv,1,1,1\n", good={1: ("a", "x", 1)}),
        layouts=(CONTEXT,),
    ),
}

NAMES = {
    "an unknown format": Broken("log.xlsx", b"PK\x03\x04", error="no known format"),
    "no name's end": Broken("log", HEADER + b"a,x,1\n", error="no known format"),
}

BROKEN_INPUTS = {
    case: broken
    for group in (
        ENCODINGS,
        NULS,
        LINES,
        ROWS,
        QUOTES,
        VALUES,
        HEADERS,
        DUPLICATES,
        PACKINGS,
        PARQUET,
        JSON_LINES,
        RECBOLE,
        SCHEMAS,
        NAMES,
    )
    for case, broken in group.items()
}
