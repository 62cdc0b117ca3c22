"""A dataset directory, opened for reading: what an import accepted, shard by shard."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys import tables
from raysys.config import FeedbackConfig
from raysys.dataset.context import NO_CONTEXT, ContextEncoder
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.feedback import COLUMNS as FEEDBACK_COLUMNS
from raysys.dataset.feedback import with_feedback
from raysys.dataset.histories import BLOCK_INTERACTIONS, Histories, offsets_of
from raysys.dataset.merging import merged
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError
from raysys.hashing import sha256_of_file
from raysys.logs.manifest import DatasetManifest, read_manifest
from raysys.logs.schema import Field, Kind, Schema
from raysys.logs.schema_change import schema_in
from raysys.parquet_file import BATCH_ROWS, read_batches

HISTORY_COLUMNS = ["user_id", "item_id", "occurred_at", *FEEDBACK_COLUMNS]
"""Of `tables.INTERACTIONS`: what a history is made of."""
EVERYTHING = FeedbackConfig()


@dataclass(frozen=True, slots=True)
class Dataset:
    """What imports left. Its files were all there, in their full size, when it was opened."""

    path: Path
    manifest: DatasetManifest

    def shard_paths(self) -> list[Path]:
        """Return the Parquet files of interactions; a user is in one of them only."""
        return [self.path / name for name in self.manifest.shard_names()]

    def items_path(self) -> Path | None:
        """Return the Parquet table of items, or None where the import had none."""
        name = self.manifest.items_file
        return None if name is None else self.path / name

    def users_path(self) -> Path | None:
        """Return the Parquet table of users, or None where the import had none."""
        name = self.manifest.users_file
        return None if name is None else self.path / name

    def schema(self, kind: Kind) -> Schema | None:
        """Return the schema that a table follows, declared or found; None: there is no table."""
        return schema_in(self.manifest, kind)

    def context_fields(self) -> tuple[Field, ...]:
        """Return the columns of interactions that the schema declares as their context."""
        schema = self.schema(Kind.INTERACTIONS)
        return () if schema is None else schema.context

    def interactions(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all interactions in batches, shard after shard, in their order.

        Raises:
            DatasetError: a shard cannot be read.
        """
        for path in self.shard_paths():
            yield from read_batches(path, columns)

    def item_vocabulary(self) -> Vocabulary:
        """Return the numbers of all items that anybody interacted with (DatasetError: damaged)."""
        return Vocabulary.open(self.vocabulary_path("items"))

    def user_vocabulary(self) -> Vocabulary:
        """Return the numbers of all users (DatasetError: damaged)."""
        return Vocabulary.open(self.vocabulary_path("users"))

    def vocabulary_path(self, kind: str) -> Path:
        """Return the file that numbers the "items" or "users" (DatasetError: there is none)."""
        name = self.manifest.vocabulary.get(kind)
        if name is None:
            raise DatasetError(
                f"Dataset {self.path} has no vocabulary of {kind}, so an earlier version of raysys "
                f"imported it. Import the log again."
            )
        return self.path / name

    def histories(
        self,
        vocabulary: Vocabulary,
        feedback: FeedbackConfig = EVERYTHING,
        event_types: EventTypes = NO_EVENT_TYPES,
        context: ContextEncoder = NO_CONTEXT,
    ) -> Histories:
        """Return every user's history in the order of the user vocabulary.

        They are mapped from files without a name, in the directory for temporary files, which takes
        24 bytes an interaction for a while and then 12, with weights 32 and 16, and with event
        types 4 and 2 more; the memory needed does not depend on their number.

        Args:
            vocabulary: gives the item numbers.
            feedback: says what each interaction weighs.
            event_types: gives the numbers of their types; none: they are not told apart.
            context: gives the codes of their contexts, if it has columns.
        """
        with tempfile.TemporaryDirectory(prefix="raysys-histories-") as work:
            blocks = self.blocks(vocabulary, feedback, event_types, context)
            return merged(blocks, self.user_vocabulary(), Path(work))

    def blocks(
        self,
        vocabulary: Vocabulary,
        feedback: FeedbackConfig = EVERYTHING,
        event_types: EventTypes = NO_EVENT_TYPES,
        context: ContextEncoder = NO_CONTEXT,
    ) -> Iterator[Histories]:
        """Yield the histories of all users, some whole users at a time, shard after shard."""
        for path in self.shard_paths():
            yield from shard_blocks(path, vocabulary, feedback, event_types, context)

    def check_dataset_group(self, name: str | None) -> None:
        """Raise DatasetError unless the dataset belongs to this group; None is every group."""
        found = self.manifest.dataset_group
        if name is not None and found != name:
            raise DatasetError(
                f"Dataset {self.path} belongs to the dataset group {found!r}, but {name!r} was "
                f"asked for. Name a dataset of {name!r}, or say --dataset-group {found}."
            )

    def verify(self) -> None:
        """Read every file and compare it with its hash in the manifest (DatasetError)."""
        for name, written in self.manifest.files.items():
            found = sha256_of_file(self.path / name)
            if found != written.sha256:
                raise DatasetError(
                    f"Dataset {self.path} is damaged: {name} has SHA-256 {found[:12]}…, but the "
                    f"import wrote {written.sha256[:12]}…. Import the log again."
                )


def open_dataset(path: Path) -> Dataset:
    """Open a dataset directory, checking its manifest and the sizes of its files.

    Raises:
        DatasetError: there is no dataset, it was written by another version, or files are missing
            or cut short.
    """
    manifest = read_manifest(path)
    for name, written in manifest.files.items():
        file = path / name
        found = file.stat().st_size if file.is_file() else None
        if found != written.num_bytes:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise DatasetError(
                f"Dataset {path} is incomplete: {name} {state}, but the import wrote "
                f"{written.num_bytes:,} bytes. Copy the dataset again, or import the log again."
            )
    return Dataset(path, manifest)


def shard_histories(
    table: pa.Table,
    vocabulary: Vocabulary,
    feedback: FeedbackConfig = EVERYTHING,
    event_types: EventTypes = NO_EVENT_TYPES,
    context: ContextEncoder = NO_CONTEXT,
) -> Histories:
    """Return the histories of one shard's interactions, in the order of its rows.

    Args:
        table: with `HISTORY_COLUMNS`.
        vocabulary: of items. One that it does not know has number 0 and keeps its place.
        feedback: says what each interaction weighs.
        event_types: gives the numbers of their types; none: they are not told apart.
        context: gives the codes of their contexts, if it has columns.

    Raises:
        DatasetError: the rows are not ordered by user and time.
    """
    users = table.column("user_id").combine_chunks()
    times = table.column("occurred_at").cast(tables.TIMESTAMP).cast(pa.int64()).to_numpy()
    is_new_user = np.ones(len(users), dtype=bool)
    is_new_user[1:] = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    _check_order(users, times, is_new_user)
    starts = np.flatnonzero(is_new_user)
    types, values = (table.column(name) for name in FEEDBACK_COLUMNS)
    histories = Histories(
        users.take(pa.array(starts)),
        offsets_of(np.diff(starts, append=len(users))),
        vocabulary.numbers(table.column("item_id")),
        times,
        vocabulary.hash,
        event_types=event_types.numbers(types) if event_types.names else None,
        contexts=context.codes(table) if context.columns else None,
    )
    return with_feedback(histories, types, values, feedback)


def shard_blocks(
    path: Path,
    vocabulary: Vocabulary,
    feedback: FeedbackConfig = EVERYTHING,
    event_types: EventTypes = NO_EVENT_TYPES,
    context: ContextEncoder = NO_CONTEXT,
) -> Iterator[Histories]:
    """Yield the histories of one shard's users, some whole users at a time.

    Raises:
        DatasetError: the file cannot be read, or its rows are not ordered by user and time.
    """
    last = ""
    for table in _whole_users(path, context.column_names):
        block = shard_histories(table, vocabulary, feedback, event_types, context)
        first, last_before, last = block.user_ids[0].as_py(), last, block.user_ids[-1].as_py()
        if first <= last_before:
            raise _disordered()
        yield block


def _whole_users(path: Path, more: Sequence[str]) -> Iterator[pa.Table]:
    """Read a shard in tables of some `BLOCK_INTERACTIONS` rows that divide no user."""
    pending: list[pa.Table] = []
    rows = min(BATCH_ROWS, BLOCK_INTERACTIONS)
    for batch in read_batches(path, [*HISTORY_COLUMNS, *more], batch_rows=rows):
        pending.append(batch)
        if sum(len(each) for each in pending) >= BLOCK_INTERACTIONS:
            table = pa.concat_tables(pending)
            users = table.column("user_id")
            whole = pc.index(users, users[-1]).as_py()  # 0: one user who is larger than a table
            if whole:
                yield table.slice(0, whole)
            pending = [table.slice(whole)]
    if pending:
        yield pa.concat_tables(pending)


def _check_order(users: pa.StringArray, times: NDArray[np.int64], new: NDArray[np.bool_]) -> None:
    ascends = pc.all(pc.less_equal(users[:-1], users[1:])).as_py() is not False  # None: no rows
    if not ascends or np.any((np.diff(times) < 0) & ~new[1:]):
        raise _disordered()


def _disordered() -> DatasetError:
    return DatasetError(
        "A shard's rows are not ordered by user and time, so a history would be torn or run "
        "backwards. Shards are written by an import; import the log again."
    )
