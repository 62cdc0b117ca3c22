"""Records are cut where a CSV reader would cut them, whatever the size of the pieces."""

import csv
import io

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.logs.reasons import Reason
from raysys.logs.records import Broken, Dialect, Records, cut_records, find_last_end, split_records
from tests.unit.logs.tools import csv_line

CSV = Dialect(",", is_quoted=True)
TSV = Dialect("\t", is_quoted=False)


def cut(data, dialect=CSV, **sizes):
    return list(cut_records(io.BytesIO(data), dialect, **sizes))


def rows_of(pieces):
    return [
        row
        for piece in pieces
        for row in (split_records(piece.data, CSV) if isinstance(piece, Records) else [piece])
    ]


fields = st.text(st.sampled_from('ab,"\n\r '), max_size=5)
tables = st.lists(st.lists(fields, min_size=2, max_size=3), max_size=8)


@given(tables, st.integers(1, 40), st.sampled_from(["\n", "\r\n", "\r"]))
def test_well_formed_csv_is_cut_into_the_rows_that_pythons_csv_module_reads(rows, size, line_end):
    text = "".join(csv_line(row) + line_end for row in rows)
    pieces = cut(text.encode(), chunk_bytes=size)
    assert all(isinstance(piece, Records) for piece in pieces)
    found = [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in rows_of(pieces)]
    assert found == rows


@given(st.text(st.sampled_from('a,"\n\r'), max_size=30).map(str.encode), st.integers(1, 31))
def test_any_bytes_are_cut_where_pyarrow_ends_its_rows(data, size):
    """pyarrow is asked how many rows each whole piece has, and it must say as many as were cut."""
    for piece in cut(data, chunk_bytes=size):
        if isinstance(piece, Records):
            assert len(split_records(piece.data, CSV)) == rows_of_pyarrow(piece.data)


def rows_of_pyarrow(data):
    seen = []

    def skip(row):
        seen.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(column_names=["one"], use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
    )
    return table.num_rows + len(seen)


@given(st.text(st.sampled_from('a,"\n\r'), max_size=40).map(str.encode))
def test_the_quick_and_the_thorough_way_find_the_same_end(data):
    # A quote in the middle of a field sends the whole buffer the thorough way.
    thorough_end, thorough_inside = find_last_end(b'x"\n' + data, CSV)
    assert find_last_end(data, CSV) == (thorough_end - 3, thorough_inside)


def test_an_unclosed_quote_costs_its_line_and_not_the_rest_of_the_file():
    pieces = cut(b'a,b\n"c,d\ne,f\ng,h')
    assert pieces == [
        Records(b"a,b\n"),
        Broken(Reason.UNCLOSED_QUOTE, b'"c,d'),
        Records(b"e,f\ng,h"),
    ]


def test_an_unclosed_quote_is_given_up_before_the_end_of_a_large_file():
    data = b'"a,b\n' + b"c,d\n" * 1000
    pieces = cut(data, chunk_bytes=64, max_record_bytes=100)
    assert pieces[0] == Broken(Reason.UNCLOSED_QUOTE, b'"a,b')
    assert rows_of(pieces[1:]) == [b"c,d"] * 1000


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("length", range(55, 75))
def test_a_line_without_an_end_is_dropped_up_to_the_next_line(length, line_end):
    data = b"a,b" + line_end + b"x" * length + line_end + b"c,d" + line_end
    pieces = cut(data, chunk_bytes=8, max_record_bytes=30)
    long = [piece for piece in pieces if isinstance(piece, Broken)]
    assert [piece.reason for piece in long] == [Reason.ROW_TOO_LONG]
    assert set(long[0].data) == {ord("x")}
    assert rows_of(pieces) == [b"a,b", long[0], b"c,d"]


def test_a_byte_order_mark_is_no_part_of_the_first_record():
    assert cut(b"\xef\xbb\xbfa,b\n") == [Records(b"a,b\n")]


def test_quotes_mean_nothing_in_a_format_without_them():
    pieces = cut(b'a\t"b\nc"\td\n', TSV)
    assert [split_records(piece.data, TSV) for piece in pieces] == [[b'a\t"b', b'c"\td']]
