"""What a reading task reports, and how reports become a manifest that must add up."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, DatasetError, NothingUsableError, SourceError
from raysys.logs.assembly import Assembly
from raysys.logs.destination import Destination
from raysys.logs.importing import import_log
from raysys.logs.joining import join
from raysys.logs.manifest import ImportMode
from raysys.logs.numbering import write_vocabularies
from raysys.logs.progress import ImportProgress
from raysys.logs.shard_ids import ids_of
from raysys.logs.shards import write_shard
from raysys.logs.tasks import Progress, import_source
from tests.unit.logs.tools import LOG, log_at, write

CONTENT = "USER_ID,ITEM_ID,TIMESTAMP\nu,i,1\n,i,2\n v ,i,3\nu,i,1\nw,j,x\n"


def read(log, work, source_file=0):
    """Return all that a reading task yields: progress, then the report."""
    *progress, report = import_source(log_at(log), LOG, source_file, 2, work)
    return [*progress, join([report], work / "unused")]


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log.csv", CONTENT)


@pytest.fixture
def assembly(tmp_path):
    (tmp_path / "staging").mkdir()
    into = Destination(tmp_path / "data", None, ImportMode.FULL)
    return Assembly(tmp_path / "staging", LOG, 2, into)


def files_of(report):
    return {report.quarantine} | {run.path for runs in report.runs.values() for run in runs}


def add_all(assembly, report):
    assembly.add(report)
    for shard in range(2):
        target = assembly.work / f"shard-{shard}"
        written = write_shard(shard, assembly.runs(shard), [], target)
        assembly.add(written)
        assembly.add(ids_of(written))
    wanted = assembly.wanted_vocabularies()
    assembly.vocabularies = write_vocabularies(wanted, assembly.work)


def test_a_report_says_what_became_of_each_row(log, assembly):
    *progress, report = read(log, assembly.work)
    assert progress == [Progress(0, 5, len(CONTENT))]
    assert report.source.rows == 5
    assert report.rows_accepted == 3
    assert report.quarantined == {"null_id": 1, "bad_timestamp": 1}
    assert [str(row) for row in report.first_quarantined] == [
        "log.csv, row 2 (null_id): ',i,2'. USER_ID: The id is missing.",
        "log.csv, row 5 (bad_timestamp): 'w,j,x'. TIMESTAMP is 'x': The time is not a number of "
        "seconds since 1970-01-01 UTC. (In a Parquet file or a query, a column of timestamps may "
        "hold it.)",
    ]
    assert report.notices == [
        "log.csv: 1 ids begin or end with white space; it was kept as a part of them."
    ]


def test_a_log_that_is_written_to_while_it_is_read_is_refused_by_name(log, assembly):
    source = log_at(log)
    reading = import_source(source, LOG, 0, 2, assembly.work)
    next(reading)
    write(log, CONTENT + "u,i,9\n")
    with pytest.raises(SourceError, match=r"log\.csv was written to during the import"):
        list(reading)


def test_a_log_that_vanishes_while_it_is_read_is_refused_by_name(log, assembly):
    reading = import_source(log_at(log), LOG, 0, 2, assembly.work)
    next(reading)
    log.unlink()
    with pytest.raises(SourceError, match=r"log\.csv was there .* and is gone"):
        list(reading)


def test_a_log_that_vanishes_before_it_is_read_is_refused_by_name(log, assembly):
    source = log_at(log)
    log.unlink()
    with pytest.raises(SourceError, match=r"log\.csv cannot be read"):
        list(import_source(source, LOG, 0, 2, assembly.work))


def test_a_task_that_is_tried_again_shares_no_file_with_its_first_try(log, assembly):
    (*_, first), (*_, second) = read(log, assembly.work), read(log, assembly.work)
    first_files, second_files = files_of(first), files_of(second)
    assert first_files.isdisjoint(second_files)
    assert all(Path(path).is_file() for path in first_files | second_files)


def test_reports_become_a_manifest_and_files_in_their_places(log, assembly, tmp_path):
    *_, report = read(log, assembly.work)
    add_all(assembly, report)
    manifest = assembly.finish()
    assert (manifest.rows_in, manifest.rows_accepted) == (5, 2)
    assert (manifest.rows_quarantined, manifest.rows_duplicate) == (2, 1)
    assert manifest.num_users == 2
    assert (manifest.first_occurred_at.timestamp(), manifest.last_occurred_at.timestamp()) == (1, 3)
    staging = tmp_path / "staging"
    found = {path.relative_to(staging) for path in staging.rglob("*") if path.is_file()}
    assert found == {Path(name) for name in manifest.files}
    assert {path.parts[1] for path in found} == {"interactions", "quarantine", "vocabulary"}
    names = manifest.vocabulary
    numbered = {kind: Vocabulary.open(staging / name).ids for kind, name in names.items()}
    assert {kind: ids.to_pylist() for kind, ids in numbered.items()} == {
        "items": ["i"],
        "users": [" v ", "u"],
    }
    assert manifest.num_items == 1


@pytest.mark.parametrize(
    "lost", ["a row read", "a quarantined row", "an accepted row", "a counted reason"]
)
def test_counts_that_do_not_add_up_are_never_published(log, assembly, lost):
    *_, report = read(log, assembly.work)
    if lost == "a row read":
        report.source = report.source.model_copy(update={"rows": 6})
    elif lost == "a quarantined row":
        table = pq.read_table(report.quarantine)
        pq.write_table(table.slice(1), report.quarantine)
    elif lost == "an accepted row":
        report.runs = {}
    else:
        del report.quarantined["null_id"]
    add_all(assembly, report)
    with pytest.raises(DatasetError, match="Nothing is published"):
        assembly.finish()


def test_nothing_usable_quotes_rows_of_several_files(assembly, tmp_path):
    for number, name in enumerate(["a.csv", "b.csv"]):
        log = write(tmp_path / name, "USER_ID,ITEM_ID,TIMESTAMP\n,i,1\n")
        *_, report = read(log, assembly.work, number)
        assembly.add(report)
    with pytest.raises(NothingUsableError) as caught:
        assembly.check_usable()
    assert str(caught.value) == (
        "a.csv, b.csv: none of 2 rows can be used (2 null_id), so nothing was written. "
        "The first of them:\n"
        "  a.csv, row 1 (null_id): ',i,1'. USER_ID: The id is missing.\n"
        "  b.csv, row 1 (null_id): ',i,1'. USER_ID: The id is missing."
    )


def test_many_notices_are_cut_short(log, assembly):
    *_, report = read(log, assembly.work)
    report.notices = [f"notice {number}" for number in range(150)]
    add_all(assembly, report)
    notices = assembly.finish().notices
    assert notices[:100] == [f"notice {number}" for number in range(100)]
    assert notices[100:] == ["and 50 more notices of this kind."]


def test_progress_counts_rows_and_guesses_those_to_come_from_bytes(log, tmp_path, assembly):
    other = write(tmp_path / "other.csv", CONTENT * 3)
    seen = []
    progress = ImportProgress([log_at(log), log_at(other)], lambda *told: seen.append(told))
    size = len(CONTENT)
    progress.follow(Progress(0, 5, size))
    progress.follow(Progress(1, 4, size))
    *_, report = read(log, assembly.work)
    progress.follow(report)
    progress.note("sorting")
    assert seen == [
        (5, 20, "0 of 2 files"),  # a quarter of the bytes
        (9, 18, "0 of 2 files"),
        (9, 18, "1 of 2 files"),
        (9, 9, "sorting"),
    ]


def test_an_import_without_a_listener_is_silent(log):
    ImportProgress([log_at(log)], None).follow(Progress(0, 5, 5))


@pytest.mark.parametrize("num_shards", [0, 4097])
def test_a_number_of_shards_out_of_bounds_is_refused_before_anything_starts(
    log, tmp_path, num_shards
):
    with pytest.raises(ConfigError, match="between 1 and 4,096"):
        import_log([log], tmp_path / "data", num_shards=num_shards)
