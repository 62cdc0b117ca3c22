"""Reads the tables of films and of people of a MovieLens data set: see `movielens_files`.

Films: item_id, title (with its year, as published), year, genres, and tags where people gave any.
People: user_id, age, gender, occupation, zip_code, in words where the files hold codes.

The older files are Latin-1 or UTF-8 and do not say which; what is no UTF-8 is read as Latin-1.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from raysys.errors import SourceError
from raysys.logs.formats import MovieLensTable
from raysys.logs.header import ITEM_ID, USER_ID
from raysys.logs.source import Source

MAX_TAGS = 10
"""Tags that are kept of one film: those that most people gave."""

# The last columns of u.item, in this order: 1 where the film is of the genre.
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_FILM_WIDTHS = {"|": 5 + len(_GENRES), "::": 3, ",": 3}
_PERSON_WIDTH = 5
_NO_GENRES = "(no genres listed)"
_YEAR = re.compile(r"\((\d{4})(?:[-\N{EN DASH}]\s*\d{0,4})?\)\s*$")

# users.dat writes the youngest age of a range, and the number of an occupation.
_AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56 or over",
}
_OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


def read_movielens_table(
    source: Source, found: MovieLensTable, id_column: str, notices: list[str]
) -> pa.Table:
    """Return the films (`id_column` is that of items) or the people. Every column is text.

    Rows of another width than published are left out, with a notice. SourceError: unreadable.
    """
    with source.open() as file:
        text = _decoded(file.read())
    width = _FILM_WIDTHS[found.separator] if id_column == ITEM_ID else _PERSON_WIDTH
    rows = list(_split(text, found.separator))
    whole = [row for row in rows if len(row) == width]
    if len(whole) < len(rows):
        notices.append(
            f"{source.name}: {len(rows) - len(whole):,} rows were left out, since they have not "
            f"the {width} columns of the published files."
        )
    if id_column == USER_ID:
        return _people(whole, is_coded=found.separator == "::")
    return _films(whole, found)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _split(text: str, separator: str) -> Iterator[list[str]]:
    """Yield the columns of each row that is not empty, without the header line of a CSV file."""
    if separator == ",":
        yield from (row for row in list(csv.reader(io.StringIO(text, newline="")))[1:] if row)
        return
    for line in text.split("\n"):  # `splitlines` would cut at characters of Latin-1 too
        if line.strip():
            yield line.rstrip("\r").split(separator)


def _films(rows: Sequence[Sequence[str]], found: MovieLensTable) -> pa.Table:
    titles = [row[1].strip() for row in rows]
    years = [_YEAR.search(title) for title in titles]
    genres = [_genres(row, found.separator) for row in rows]
    columns: dict[str, Iterable[str | None]] = {
        ITEM_ID: [row[0] for row in rows],
        "title": [title or None for title in titles],
        "year": [year and year[1] for year in years],
        "genres": genres,
    }
    if found.tags is not None:
        tags = _tags(Path(found.tags), found.separator)
        columns["tags"] = [tags.get(row[0]) for row in rows]
    return _table(columns)


def _genres(row: Sequence[str], separator: str) -> str | None:
    if separator == "|":
        flags = row[-len(_GENRES) :]
        return "|".join(name for name, flag in zip(_GENRES, flags, strict=True) if flag == "1")
    return None if row[2] == _NO_GENRES else row[2].strip()


def _tags(path: Path, separator: str) -> dict[str, str]:
    """Return the tags of each film, those that most people gave first."""
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    for row in _split(text, separator):
        if len(row) == 4 and (tag := row[2].strip().lower().replace("|", "/")):
            given[row[1]][tag] += 1
    return {
        film: "|".join(sorted(counts, key=lambda tag: (-counts[tag], tag))[:MAX_TAGS])
        for film, counts in given.items()
    }


def _people(rows: Sequence[Sequence[str]], *, is_coded: bool) -> pa.Table:
    if is_coded:  # UserID::Gender::Age::Occupation::Zip-code
        occupations = {str(number): name for number, name in enumerate(_OCCUPATIONS)}
        found = [
            (user, _AGES.get(age, age), gender, occupations.get(work, work), zip_code)
            for user, gender, age, work, zip_code in rows
        ]
    else:  # user id | age | gender | occupation | zip code
        found = [(row[0], row[1], row[2], row[3], row[4]) for row in rows]
    names = (USER_ID, "age", "gender", "occupation", "zip_code")
    return _table({name: [row[place] for row in found] for place, name in enumerate(names)})


def _table(columns: Mapping[str, Iterable[str | None]]) -> pa.Table:
    arrays = {
        name: pa.array([value or None for value in values], pa.string())
        for name, values in columns.items()
    }
    return pa.table(arrays)
