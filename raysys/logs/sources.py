"""Which files an import reads: files, directories, globs and URLs become one ordered list."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from raysys.errors import SourceError
from raysys.logs import remote
from raysys.logs.formats import INTERACTION_FORMATS, TABLE_FORMATS, Formats, is_known
from raysys.logs.queries import SqlQuery
from raysys.logs.source import Source, local_source, remote_source

Origin = Source | SqlQuery
"""What can be imported: a file, or what a query returns."""

Given = str | Path | Origin
"""What a caller may name: a path, a glob or a URL, or an origin that is known already."""


def find_sources(given: Sequence[Given]) -> list[Origin]:
    """Return the origins of interactions that were named, in log order.

    They stay in the order given. A directory stands for the sources in it (not below it), a glob
    such as `logs/*.csv` for what it matches, each sorted by name; names that start with a dot or an
    underscore are passed over there. The same holds of URLs such as s3://bucket/logs/*.csv.

    Raises:
        SourceError: a path does not exist, cannot be reached, or stands for no source at all.
    """
    if not given:
        raise SourceError("No interactions were given. Name at least one file or directory.")
    found: list[Origin] = []
    for one in given:
        if isinstance(one, Origin):
            found.append(one)
        elif (place := _place(one)) and isinstance(place, str):
            found += _find_remote(place, INTERACTION_FORMATS)
        else:
            paths = _expand(Path(place))
            found += [local_source(path, str(path), INTERACTION_FORMATS) for path in paths]
    return found


def find_table(given: Given) -> Origin:
    """Return the origin of a table of items or of users. SourceError: it is not there."""
    if isinstance(given, Origin):
        return given
    place = _place(given)
    if isinstance(place, Path):
        return local_source(place, str(place), TABLE_FORMATS)
    found = _find_remote(place, TABLE_FORMATS)
    if len(found) > 1:
        raise SourceError(f"{remote.shown(place)} stands for {len(found)} tables; name one.")
    return found[0]


def _place(given: str | Path) -> str | Path:
    """Return a URL as text, anything else as a path; file:// means a path too."""
    if not isinstance(given, str) or not remote.is_url(given):
        return Path(given)
    parts = urlsplit(given)
    return Path(unquote(parts.path)) if parts.scheme == "file" else given


def _find_remote(url: str, formats: Formats) -> list[Source]:
    try:
        files = remote.find_files(url)
    except OSError as error:
        raise SourceError(
            f"{remote.shown(url)} cannot be reached, or is not there: {error}. Check the URL, and "
            f"that this machine may read it."
        ) from error
    found = [file for file in files if _is_usable(file.name.rpartition("/")[2], formats)]
    if not found and len(files) != 1:
        raise SourceError(
            f"{remote.shown(url)} holds no file whose name ends with {', '.join(formats)}."
        )
    return [remote_source(file, formats) for file in found or files]


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = _usable(path.iterdir())
        if not found:
            names = sorted(entry.name for entry in path.iterdir())
            holds = f"It holds: {', '.join(names[:5])}" if names else "It is empty"
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise SourceError(
                f"Directory {path} holds no log: names of logs end with "
                f"{', '.join(INTERACTION_FORMATS)}. {holds}{more}."
            )
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = _usable(Path(match) for match in glob.glob(str(path), recursive=True))
        if not found:
            raise SourceError(f"No log matches {path}: check the pattern and the directory.")
        return found
    return [path]


def _usable(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path for path in paths if path.is_file() and _is_usable(path.name, INTERACTION_FORMATS)
    )


def _is_usable(name: str, formats: Formats) -> bool:
    return is_known(name, formats) and name[0] not in "._"
