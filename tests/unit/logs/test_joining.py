"""An import of one large file in pieces leaves the dataset that an import of the whole leaves."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.errors import NothingUsableError
from raysys.logs import pieces
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest
from tests.unit.logs.tools import write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_ID"


def log_text() -> str:
    lines = [
        f"u{n % 7},i{n * 31 % 50},{1000 + n // 3},{f'e{n % 90}' * (n % 2)}" for n in range(400)
    ]
    lines[60] = lines[59]  # a duplicate
    lines[100] = ",i,5,"  # null_id
    lines[250] = '"u,i,5,'  # unclosed_quote
    lines[300] = "u,i,later,"  # bad_timestamp
    lines[350] = " u,i,7,"  # white space around an id
    return "\n".join([HEADER, *lines]) + "\n"


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", (500, 500))


def import_here(log: Path, to: Path) -> tuple[DatasetManifest, dict[str, str]]:
    """Return the manifest, and the hash of every file by its name within the import's folder."""
    manifest = import_log([log], to, num_shards=3, run=run_here)
    hashes = {name.partition("/")[2]: file.sha256 for name, file in manifest.files.items()}
    return manifest, hashes


@pytest.mark.usefixtures("small_pieces")
def test_a_file_read_in_pieces_becomes_the_dataset_of_the_file_read_as_a_whole(tmp_path):
    packed = tmp_path / "log.csv.gz"  # it cannot be divided
    packed.write_bytes(gzip.compress(log_text().encode()))
    whole, of_whole = import_here(packed, tmp_path / "whole")
    log = write(tmp_path / "log.csv", log_text())
    cut, of_cut = import_here(log, tmp_path / "cut")
    for kept in (of_whole, of_cut):
        kept.pop("quarantine/part-00000.parquet")  # it names the file
    assert of_cut == of_whole
    counts = ("rows_in", "rows_accepted", "rows_quarantined", "rows_duplicate")
    assert [getattr(cut, name) for name in counts] == [getattr(whole, name) for name in counts]
    assert cut.quarantined_by_reason == {"null_id": 1, "unclosed_quote": 1, "bad_timestamp": 1}
    assert cut.sources[0].rows == 400
    assert cut.notices == [
        f"{log}: 1 ids begin or end with white space; it was kept as a part of them."
    ]


@pytest.mark.usefixtures("small_pieces")
def test_quarantined_rows_of_a_later_piece_have_the_numbers_that_they_have_in_the_file(tmp_path):
    log = write(tmp_path / "log.csv", log_text())
    manifest, _ = import_here(log, tmp_path / "dataset")
    name = f"{manifest.import_id}/quarantine/part-00000.parquet"
    rows = pq.read_table(tmp_path / "dataset" / name).to_pylist()
    assert [(row["source_row"], row["row"]) for row in rows] == [
        (101, ",i,5,"),
        (251, '"u,i,5,'),
        (301, "u,i,later,"),
    ]


@pytest.mark.usefixtures("small_pieces")
def test_rows_quoted_in_an_error_have_the_numbers_that_they_have_in_the_file(tmp_path):
    log = write(tmp_path / "log.csv", HEADER + "\n" * 2000 + ",a,1,\n" + "\n" * 2000 + ",b,2,\n")
    with pytest.raises(NothingUsableError, match=r"row 1 \(null_id\): ',a,1,'[^$]*row 2 \(null"):
        import_here(log, tmp_path / "dataset")


@pytest.mark.usefixtures("small_pieces")
def test_progress_tells_how_many_pieces_are_read(tmp_path):
    log = write(tmp_path / "log.csv", log_text())
    told = []
    import_log(
        [log],
        tmp_path / "dataset",
        on_progress=lambda done, total=None, note="": told.append((done, note)),
        run=run_here,
    )
    notes = [note for _, note in told if note.endswith("pieces of files")]
    assert notes[0].startswith("0 of ")
    num_pieces = notes[0].split()[2]
    assert int(num_pieces) > 5
    assert notes[-1] == f"{num_pieces} of {num_pieces} pieces of files"
    assert told[-1][0] == 400
