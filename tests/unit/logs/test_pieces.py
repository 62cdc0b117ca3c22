"""A file read in pieces is the file read as a whole, row by row."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysys.errors import SourceError
from raysys.hashing import sha256_of_file
from raysys.logs import pieces
from raysys.logs.formats import INTERACTION_FORMATS
from raysys.logs.pieces import divide, is_divisible, num_shards_for
from raysys.logs.readers import read_source
from raysys.logs.source import WHOLE, local_source
from tests.unit.logs.tools import LOG, write


def source_of(path):
    return local_source(path, path.name, INTERACTION_FORMATS)


def rows_of(source, extents):
    """Return number and text of each row, refused ones included, as an import would count them."""
    found = []
    for extent in extents:
        before = len(found)
        for batch in read_source(source, LOG, extent):
            texts = batch.text_of(list(range(len(batch.rows))))
            read = list(zip(batch.rows.tolist(), texts, strict=True))
            read += [(one.row, one.text) for one in batch.refused]
            found += [(before + row, text) for row, text in sorted(read)]
    return found


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", (16, 16))


texts = st.text(st.sampled_from('ab,"\n\r'), max_size=80)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.sampled_from(["log.csv", "log.inter", "log.jsonl"]))
def test_pieces_hold_the_rows_of_the_whole_whatever_its_quotes_and_line_ends(
    tmp_path, small_pieces, text, name
):
    header = "user_id,item_id,timestamp\n".replace(",", "\t" if name.endswith("inter") else ",")
    if name.endswith("jsonl"):
        header = '{"user_id": "u", "item_id": "i", "timestamp": 1}\n'
    path = write(tmp_path / name, header + text)
    source = source_of(path)
    division = divide(source, 3)
    assert (division.source_file, division.sha256) == (3, sha256_of_file(path))
    assert rows_of(source, division.extents) == rows_of(source, [WHOLE])


def test_pieces_are_of_about_one_size_and_follow_each_other(tmp_path, small_pieces):
    path = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\n" + "user,item,1234\n" * 50)
    extents = divide(source_of(path), 0).extents
    assert [one.start for one in extents[1:]] == [one.end for one in extents[:-1]]
    assert (extents[0].start, extents[-1].end) == (0, path.stat().st_size)
    assert all(16 <= one.end - one.start <= 16 + 2 * 16 for one in extents[1:])
    assert len(extents) > 20


def test_a_mark_at_the_start_of_a_piece_is_a_part_of_its_row(tmp_path, small_pieces):
    path = write(tmp_path / "log.csv", "\ufeffUSER_ID,ITEM_ID,TIMESTAMP\n" + "\ufeffu,i,1\n" * 20)
    source = source_of(path)
    rows = rows_of(source, divide(source, 0).extents)
    assert rows == [(row, "\ufeffu,i,1") for row in range(1, 21)]


def test_a_parquet_file_is_divided_between_its_row_groups(tmp_path, monkeypatch):
    path = tmp_path / "log.parquet"
    columns = {"USER_ID": [f"u{n}" for n in range(100)], "ITEM_ID": ["i"] * 100}
    pq.write_table(pa.table({**columns, "TIMESTAMP": range(100)}), path, row_group_size=7)
    group_bytes = pq.read_metadata(path).row_group(0).total_byte_size
    monkeypatch.setattr(pieces, "PIECE_BYTES", (2 * group_bytes, 2 * group_bytes))
    source = source_of(path)
    division = divide(source, 0)
    assert 4 < len(division.extents) < 15
    assert division.extents[-1].end == 15
    assert division.sha256 == sha256_of_file(path)
    assert rows_of(source, division.extents) == rows_of(source, [WHOLE])


def test_a_file_that_is_emptied_before_it_is_divided_is_refused(tmp_path, small_pieces):
    path = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\n" + "u,i,1\n" * 20)
    source = source_of(path)
    path.write_text("")
    with pytest.raises(SourceError, match=r"log\.csv was written to during the import"):
        divide(source, 0)


def test_only_large_files_that_can_be_read_from_their_middle_are_divided(tmp_path, small_pieces):
    text = "USER_ID,ITEM_ID,TIMESTAMP\n"
    assert not is_divisible(source_of(write(tmp_path / "small.csv", text)))
    assert is_divisible(source_of(write(tmp_path / "large.csv", text + "u,i,1\n")))
    assert not is_divisible(source_of(write(tmp_path / "packed.csv.gz", text * 9)))


@pytest.mark.parametrize(("num_bytes", "expected"), [(1, 8), (800_000_000, 10), (10**14, 4096)])
def test_the_number_of_shards_follows_from_the_size_of_the_log(tmp_path, num_bytes, expected):
    source = source_of(write(tmp_path / "log.csv", "USER_ID"))
    assert num_shards_for([replace(source, num_bytes=num_bytes)]) == expected
