"""Which files an import reads: files, directories and globs become one ordered list."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from raysys.errors import SourceError
from raysys.logs.readers import SUFFIXES, is_source


def find_sources(given: Sequence[Path]) -> list[Path]:
    """Return the files that the given paths stand for, in log order.

    Files stay in the order given. A directory stands for the sources in it (not below it), a glob
    such as `logs/*.csv` for what it matches, each sorted by name; names that start with a dot or an
    underscore are passed over there.

    Raises:
        SourceError: a path does not exist, or stands for no source at all.
    """
    if not given:
        raise SourceError("No interactions were given. Name at least one file or directory.")
    return [path for one in given for path in _expand(one)]


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = _usable(path.iterdir())
        if not found:
            names = sorted(entry.name for entry in path.iterdir())
            holds = f"It holds: {', '.join(names[:5])}" if names else "It is empty"
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise SourceError(
                f"Directory {path} holds no log: names of logs end with {', '.join(SUFFIXES)}. "
                f"{holds}{more}."
            )
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = _usable(Path(match) for match in glob.glob(str(path), recursive=True))
        if not found:
            raise SourceError(f"No log matches {path}: check the pattern and the directory.")
        return found
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path.")
    return [path]


def _usable(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path for path in paths if path.is_file() and is_source(path) and path.name[0] not in "._"
    )
