"""Which files an import reads."""

from pathlib import Path

import pytest

from raysys.errors import SourceError
from raysys.logs.formats import CSV
from raysys.logs.sources import find_sources
from tests.unit.logs.tools import write


def found(*given):
    """Return the names of the sources that the given paths stand for."""
    return [source.name for source in find_sources(given)]


def names(*paths):
    return [str(path) for path in paths]


def fill(directory, *names):
    directory.mkdir(exist_ok=True)
    return [write(directory / name, "content") for name in names]


def test_a_directory_stands_for_the_logs_in_it_by_name(tmp_path):
    day = tmp_path / "days"
    b, a, inter = fill(day, "b.csv", "a.PARQUET", "c.inter")
    fill(day, "_SUCCESS.csv", ".hidden.csv", "readme.txt")
    (day / "below.csv").mkdir()
    assert found(day) == names(a, b, inter)


def test_files_stay_in_the_order_given_and_may_come_twice(tmp_path):
    b, a = fill(tmp_path, "b.csv", "a.csv")
    assert found(b, a, b) == names(b, a, b)


def test_a_glob_stands_for_what_it_matches(tmp_path):
    a, b = fill(tmp_path, "a.csv.gz", "b.csv")
    fill(tmp_path, "c.parquet")
    assert found(tmp_path / "*.csv*") == names(a, b)


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path):
    (path,) = fill(tmp_path, "log[1].csv")
    assert found(path) == names(path)


def test_an_empty_directory_and_one_without_logs_are_errors_that_say_what_is_there(tmp_path):
    with pytest.raises(SourceError, match="holds no log.*It is empty"):
        find_sources([tmp_path])
    fill(tmp_path, "notes.txt")
    with pytest.raises(SourceError, match=r"holds no log: .*\.parquet.* It holds: notes\.txt"):
        find_sources([tmp_path])


@pytest.mark.parametrize(
    ("path", "words"), [("gone.csv", "not exist"), ("*.csv", "No log matches")]
)
def test_a_path_that_stands_for_nothing_is_an_error(tmp_path, path, words):
    with pytest.raises(SourceError, match=words):
        find_sources([tmp_path / path])


def test_no_path_at_all_is_an_error():
    with pytest.raises(SourceError, match="at least one"):
        find_sources([])


def test_a_source_is_called_as_it_was_given_and_lies_where_it_lies(tmp_path, monkeypatch):
    fill(tmp_path, "a.csv")
    monkeypatch.chdir(tmp_path)
    (source,) = find_sources([Path("a.csv")])
    assert source.name == "a.csv"
    assert source.location == str(tmp_path / "a.csv")  # the same in every process
    assert (source.format, source.num_bytes) == (CSV, len("content"))
