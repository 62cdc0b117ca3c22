"""MovieLens as GroupLens publishes it: a directory, its layout found out, its files as sources.

Three layouts exist, and all published sizes have one of them:

    u.data, u.item, u.user                   100K
    ratings.dat, movies.dat, users.dat       1M, and 10M (which has tags.dat instead of users.dat)
    ratings.csv, movies.csv, tags.csv        20M, 25M, 32M, latest, latest-small
"""

import re
from dataclasses import dataclass
from pathlib import Path

from raysys.errors import SourceError
from raysys.logs.formats import Format, MovieLensTable, TextFormat
from raysys.logs.header import EVENT_VALUE, ITEM_ID, TIMESTAMP, USER_ID
from raysys.logs.movielens import LogFiles
from raysys.logs.records import Dialect
from raysys.logs.source import Source, local_source

_RATED = (USER_ID, ITEM_ID, EVENT_VALUE, TIMESTAMP)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a layout calls its files, and how their columns are separated."""

    ratings: str
    items: str
    users: str | None
    tags: str | None
    rating_format: TextFormat
    separator: str


# Each `::` is two columns with nothing in between, so that a colon alone separates columns.
_EMPTY_BETWEEN = (_RATED[0], "", _RATED[1], "", _RATED[2], "", _RATED[3])
_CSV_NAMES = {"userid": USER_ID, "movieid": ITEM_ID, "rating": EVENT_VALUE}
_LAYOUTS = (
    _Layout(
        *("u.data", "u.item", "u.user", None),
        TextFormat(Dialect("\t", is_quoted=False), names=_RATED),
        separator="|",
    ),
    _Layout(
        *("ratings.dat", "movies.dat", "users.dat", "tags.dat"),
        TextFormat(Dialect(":", is_quoted=False), names=_EMPTY_BETWEEN),
        separator="::",
    ),
    _Layout(
        *("ratings.csv", "movies.csv", None, "tags.csv"),
        TextFormat(Dialect(",", is_quoted=True), _CSV_NAMES),
        separator=",",
    ),
)


def find_movielens(directory: Path) -> LogFiles:
    """Return the files of a MovieLens data set, given the directory that its archive holds.

    Raises:
        SourceError: it is no directory, holds none of the layouts, or a file is missing in it.
    """
    if not directory.is_dir():
        raise SourceError(
            f"{directory} is not a directory. Unpack the archive (`unzip ml-25m.zip`) and name the "
            f"directory that comes out of it."
        )
    layout = next((one for one in _LAYOUTS if (directory / one.ratings).exists()), None)
    if layout is None:
        raise SourceError(_explain_unknown(directory))
    tags = _location(directory, layout.tags)
    return LogFiles(
        _name(directory),
        _source(directory / layout.ratings, layout.rating_format),
        _source(directory / layout.items, MovieLensTable(layout.separator, tags)),
        _source(directory / layout.users, MovieLensTable(layout.separator))
        if layout.users and _location(directory, layout.users)
        else None,
    )


def _source(path: Path, found: Format) -> Source:
    return local_source(path, str(path), {path.suffix: found})


def _location(directory: Path, name: str | None) -> str | None:
    path = directory / name if name else None
    return str(path.absolute()) if path and path.exists() else None


def _name(directory: Path) -> str:
    """Return which MovieLens it is, if its README says so, as in "MovieLens (ml-25m)"."""
    for readme in ("README.txt", "README", "README.html"):
        path = directory / readme
        text = path.read_bytes()[:20_000].decode("latin-1") if path.is_file() else ""
        if found := re.search(r"\b(ml-[0-9a-z]+(?:-[a-z]+)*)\b", text):
            return f"MovieLens ({found[1]})"
    return f"MovieLens in {directory.name or directory}"


def _explain_unknown(directory: Path) -> str:
    wanted = "; ".join(f"{one.ratings} with {one.items}" for one in _LAYOUTS)
    below = sorted(
        one.parent for layout in _LAYOUTS for one in directory.glob(f"*/{layout.ratings}")
    )
    hint = f" {below[0]} does: name that directory." if below else ""
    return f"{directory} holds no MovieLens data set in a published layout ({wanted}).{hint}"
