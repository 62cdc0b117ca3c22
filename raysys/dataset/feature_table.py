"""The features of every known item, or user, by number: what towers read in training.

DIR/
    items.json    how columns become features, a `FeatureEncoder`
    items.arrow   the features of item number r in row r; row 0, the unknown, has none
    users.json, users.arrow   alike, of users

Letters for shapes:
    N  known ids
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from raysys.dataset.bags import Bags, save_bags
from raysys.dataset.features import FeatureEncoder, pieces
from raysys.logs.schema import Kind

_ROWS_AT_ONCE = 1 << 14  # that are encoded; those with a sentence vector take 10 kB each meanwhile


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """The features of one kind of thing."""

    encoder: FeatureEncoder
    bags: Bags
    """(N + 1,) in the order of the numbers."""

    @classmethod
    def of(cls, table: pa.Table, encoder: FeatureEncoder) -> "FeatureTable":
        """Return the features of the rows of a table, which are the numbers 1 to N, mapped.

        Memory: a piece of the table. The features lie in a file without a name.
        """
        with tempfile.TemporaryDirectory(prefix="raysys-features-") as work:
            path = Path(work) / "features.arrow"
            save_bags(_encoded(table, encoder), path, Path(work))
            return cls(encoder, Bags.open(path))


@dataclass(frozen=True, slots=True)
class FeatureTables:
    """What is known of both sides; None where nothing is."""

    items: FeatureTable | None = None
    users: FeatureTable | None = None

    def save(self, directory: Path) -> None:
        """Write the files that `open` reads into a directory, which is made if need be.

        Where nothing is known there are no files, and no directory.
        """
        for kind, table in ((Kind.ITEMS, self.items), (Kind.USERS, self.users)):
            if table is not None:
                directory.mkdir(parents=True, exist_ok=True)
                table.encoder.save(directory / f"{kind}.json")
                with tempfile.TemporaryDirectory(prefix="raysys-features-") as work:
                    save_bags([table.bags], directory / f"{kind}.arrow", Path(work))

    @classmethod
    def open(cls, directory: Path) -> "FeatureTables":
        """Map what `save` wrote; a directory that is not there holds nothing.

        Raises:
            DatasetError, OSError, ValueError: a file cannot be read.
        """
        return cls(_opened(directory, Kind.ITEMS), _opened(directory, Kind.USERS))


def _opened(directory: Path, kind: Kind) -> FeatureTable | None:
    path = directory / f"{kind}.json"
    if not path.exists():
        return None
    return FeatureTable(FeatureEncoder.open(path), Bags.open(directory / f"{kind}.arrow"))


def _encoded(table: pa.Table, encoder: FeatureEncoder) -> Iterator[Bags]:
    yield Bags.empty(1)  # of the unknown
    for piece in pieces(table, _ROWS_AT_ONCE):
        yield encoder.encode(piece)
