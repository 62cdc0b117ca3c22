"""Sorted streams become one, whatever their number, while little of them is in memory."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.logs.merging import merge
from raysys.logs.runs import Order

BY_WORD = Order("word")
BY_WORD_AND_TIME = Order("word", "time")


def rows(pairs, origin):
    words, times = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.table(
        {
            "word": pa.array(words, pa.string()),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "origin": pa.array([origin] * len(pairs), pa.int64()),
        }
    )


def cut(pairs, origin, size):
    return [rows(pairs[at : at + size], origin) for at in range(0, len(pairs), size)]


def told(batches):
    table = pa.concat_tables([rows([], 0), *batches])
    times = table.column("time").cast(pa.int64()).to_pylist()
    return list(zip(table["word"].to_pylist(), times, table["origin"].to_pylist(), strict=True))


streams = st.lists(
    st.lists(st.tuples(st.text("aé𝄞", max_size=2), st.integers(0, 3)), max_size=12), max_size=5
)


@settings(max_examples=40)
@given(streams, st.integers(1, 4))
def test_rows_come_by_word_and_time_and_equal_ones_in_the_order_of_the_streams(given_rows, size):
    sorted_rows = [
        sorted(pairs, key=lambda pair: (pair[0].encode(), pair[1])) for pairs in given_rows
    ]
    merged = merge(
        [iter(cut(pairs, origin, size)) for origin, pairs in enumerate(sorted_rows)],
        BY_WORD_AND_TIME,
    )
    expected = [
        (word, time, origin) for origin, pairs in enumerate(sorted_rows) for word, time in pairs
    ]
    assert told(merged) == sorted(expected, key=lambda row: (row[0].encode(), *row[1:]))


@settings(max_examples=40)
@given(streams, st.integers(1, 4))
def test_without_a_time_the_word_alone_decides(given_rows, size):
    sorted_rows = [sorted(pairs, key=lambda pair: pair[0].encode()) for pairs in given_rows]
    merged = merge(
        [iter(cut(pairs, origin, size)) for origin, pairs in enumerate(sorted_rows)], BY_WORD
    )
    expected = [
        (word, time, origin) for origin, pairs in enumerate(sorted_rows) for word, time in pairs
    ]
    assert told(merged) == sorted(expected, key=lambda row: row[0].encode())  # stable


def test_no_stream_is_read_further_ahead_than_one_batch():
    size, pulled = 10, [0, 0, 0]

    def stream(origin):
        pairs = [(f"{n * 7 + origin:06d}", 0) for n in range(1000)]
        for batch in cut(pairs, origin, size):
            pulled[origin] += batch.num_rows
            yield batch

    emitted = 0
    for batch in merge([stream(origin) for origin in range(3)], BY_WORD_AND_TIME):
        emitted += batch.num_rows
        assert sum(pulled) - emitted <= 3 * size
    assert emitted == 3000
