"""Which files an import reads: files, directories and globs become one ordered list."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from raysys.errors import SourceError
from raysys.logs.formats import INTERACTION_FORMATS, TABLE_FORMATS, is_known
from raysys.logs.queries import SqlQuery
from raysys.logs.source import Source, local_source

Origin = Source | SqlQuery
"""What can be imported: a file, or what a query returns."""

Given = str | Path | Origin
"""What a caller may name: a path, a glob, or an origin that is known already."""


def find_sources(given: Sequence[Given]) -> list[Origin]:
    """Return the origins of interactions that were named, in log order.

    They stay in the order given. A directory stands for the sources in it (not below it), a glob
    such as `logs/*.csv` for what it matches, each sorted by name; names that start with a dot or an
    underscore are passed over there.

    Raises:
        SourceError: a path does not exist, or stands for no source at all.
    """
    if not given:
        raise SourceError("No interactions were given. Name at least one file or directory.")
    found: list[Origin] = []
    for one in given:
        if isinstance(one, Origin):
            found.append(one)
        else:
            paths = _expand(Path(one))
            found += [local_source(path, str(path), INTERACTION_FORMATS) for path in paths]
    return found


def find_table(given: Given) -> Origin:
    """Return the origin of a table of items or of users. SourceError: it is not there."""
    if isinstance(given, Origin):
        return given
    return local_source(Path(given), str(given), TABLE_FORMATS)


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
        path
        for path in paths
        if path.is_file() and is_known(path.name, INTERACTION_FORMATS) and path.name[0] not in "._"
    )
