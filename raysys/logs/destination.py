"""Where an import goes, what is there already, and what of that stays."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raysys.errors import ConfigError, DatasetError
from raysys.hashing import sha256_of_file
from raysys.logs.header import ITEM_ID
from raysys.logs.manifest import (
    DatasetManifest,
    EventsUpTo,
    ImportMode,
    WrittenFile,
    read_manifest,
)
from raysys.logs.publish import changed_meanwhile, check_destination


@dataclass(frozen=True, slots=True)
class Destination:
    """A dataset directory, as it was when an import into it began."""

    path: Path
    found: DatasetManifest | None
    """What was there; None for nothing."""
    mode: ImportMode

    @classmethod
    def open(cls, path: Path, dataset_group: str, mode: ImportMode) -> "Destination":
        """Look at what is there, and refuse what cannot be replaced, or added to (DatasetError)."""
        path = path.absolute()
        found = check_destination(path, dataset_group)
        if found is not None and mode is ImportMode.INCREMENTAL:
            found = read_manifest(path)  # to be added to, it must be of this version
        return cls(path, found, mode)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say of an error in the block that the base was changed meanwhile, where that is so: then
        files of it are missing.
        """
        try:
            yield
        except DatasetError as error:
            group = "" if self.base is None else self.base.dataset_group
            if self.base is not None and check_destination(self.path, group) != self.base:
                raise changed_meanwhile(self.path) from error
            raise

    @property
    def base(self) -> DatasetManifest | None:
        """Return what the import adds to; None where it starts anew."""
        return self.found if self.mode is ImportMode.INCREMENTAL else None

    @property
    def events(self) -> EventsUpTo:
        """Return what the base has of a server's database."""
        return EventsUpTo() if self.base is None else self.base.events

    @property
    def tombstones(self) -> Path | None:
        """Return the file that says who was forgotten, if anybody was."""
        name = None if self.found is None else self.found.tombstones_file
        return None if name is None else self.path / name

    @property
    def first_source(self) -> int:
        """Return the number of the import's first source; those of its base come before."""
        return 0 if self.base is None else len(self.base.sources)

    def num_shards(self, asked: int | None, default: int) -> int:
        """Return how many shards there are to be; those of a base stay as many (ConfigError)."""
        if self.base is None:
            return default if asked is None else asked
        if asked not in (None, self.base.num_shards):
            raise ConfigError(
                f"{self.path} has {self.base.num_shards} shards, and an import that adds to it "
                f"cannot have {asked}: users would lie in two of them. Leave --shards out, or "
                f"import everything again with --mode full."
            )
        return self.base.num_shards

    def shard(self, number: int) -> Path | None:
        """Return a shard of the base; None where there is no base."""
        return None if self.base is None else self.path / self.base.shard_names()[number]

    def quarantines(self) -> dict[int, Path]:
        """Return the base's files of quarantine, by the number of their source."""
        names = [] if self.base is None else self.base.quarantine_names()
        return {
            int(name[-len("00000.parquet") : -len(".parquet")]): self.path / name for name in names
        }

    def table_name(self, id_column: str) -> str | None:
        """Return the base's table of items or of users, as its manifest names it."""
        if self.base is None:
            return None
        return self.base.items_file if id_column == ITEM_ID else self.base.users_file

    def is_leaving(self, id_column: str) -> bool:
        """Say whether the table of items or of users that is there goes unless one is brought."""
        if self.base is not None or self.found is None:
            return False
        found = self.found.items_file if id_column == ITEM_ID else self.found.users_file
        return found is not None

    def table(self, id_column: str) -> Path | None:
        """Return where that table lies."""
        name = self.table_name(id_column)
        return None if name is None else self.path / name

    def vocabulary(self, kind: str) -> Path | None:
        """Return where the base's vocabulary of items or users lies; None where it has none."""
        name = None if self.base is None else self.base.vocabulary.get(kind)
        return None if name is None else self.path / name

    def kept_files(self) -> dict[str, WrittenFile]:
        """Return the files that stay: all of a base; else who was forgotten, and the receipts."""
        if self.found is None:
            return {}
        if self.base is not None:
            return dict(self.base.files)
        kept = {*self.found.receipts, self.found.tombstones_file}
        return {name: file for name, file in self.found.files.items() if name in kept}


class NextFiles:
    """The files of a dataset's next state: those that are kept, and new ones in a new folder."""

    def __init__(self, staging: Path, import_id: str, kept: Mapping[str, WrittenFile]) -> None:
        self.written = dict(kept)
        self.is_changed = False
        self._staging = staging
        self._import_id = import_id

    def place(
        self,
        path: str | Path,
        place: str,
        *,
        written: WrittenFile | None = None,
        instead_of: str | None = None,
    ) -> str:
        """Move a file into the new folder; return its name in the manifest.

        Args:
            place: where in the folder.
            written: its size and hash, if they are known.
            instead_of: the name of a file that is not kept then.
        """
        name = f"{self._import_id}/{place}"
        target = self._staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(path).rename(target)
        if written is None:
            written = WrittenFile(num_bytes=target.stat().st_size, sha256=sha256_of_file(target))
        self.drop(instead_of)
        self.written[name] = written
        self.is_changed = True
        return name

    def drop(self, name: str | None) -> None:
        """Keep a file no more; nothing happens for None."""
        if name is not None:
            del self.written[name]
            self.is_changed = True
