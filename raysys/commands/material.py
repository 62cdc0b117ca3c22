"""What a release holds apart from its model: vocabularies, histories, items, out of a dataset."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.config import PipelineConfig, TwoTowerConfig, reads_context, reads_event_types
from raysys.dataset.cold_items import num_cold_items
from raysys.dataset.context import NO_CONTEXT, ContextEncoder, fit_context
from raysys.dataset.creation import created_at_us
from raysys.dataset.dataset import Dataset, open_dataset
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes, find_event_types
from raysys.dataset.feedback import COLUMNS as FEEDBACK_COLUMNS
from raysys.dataset.histories import Histories
from raysys.dataset.interaction_types import InteractionTypes, find_all_types
from raysys.dataset.item_table import open_item_table, write_item_table, write_user_table
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.distinct import distinct_ids_of
from raysys.logs.numbering import Wanted, write_vocabularies
from raysys.release import (
    CONTEXT,
    CREATED_AT,
    EVENT_TYPES,
    HISTORIES,
    INTERACTION_TYPE_NUMS,
    INTERACTION_TYPES,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    POPULARITY,
    USER_TABLE,
    USER_VOCABULARY,
    Release,
)

EVERYTHING = PipelineConfig()
"""Every interaction counts, and every user gets a number."""


@dataclass(frozen=True)
class Material:
    """A dataset in the numbers of two vocabularies."""

    dataset: Dataset
    items: Vocabulary
    users: Vocabulary
    event_types: EventTypes
    """Of what models read; none where it is all of one type, or the model does not read types."""
    context: ContextEncoder
    """Of interactions; no columns where none are declared, or the model does not read them."""
    histories: Histories
    """Of every user of the dataset, with what each interaction weighs."""
    interaction_types: InteractionTypes
    """Of these histories, also of what models do not read."""

    @classmethod
    def of(
        cls,
        path: Path,
        config: PipelineConfig = EVERYTHING,
        *,
        going_on_from: Release | None = None,
    ) -> "Material":
        """Open a dataset.

        Args:
            config: says which interactions count, and which users get a number.
            going_on_from: ids of this release keep its numbers, and those that it lacks follow.
                None: the numbers are those of the dataset, or of the users who get one.

        Raises:
            DatasetError: there is no dataset, or it is damaged.
        """
        dataset = open_dataset(path)
        with tempfile.TemporaryDirectory(prefix="raysys-vocabulary-") as work:
            numbering = _Numbering(dataset, going_on_from, Path(work))
            items = numbering.of("items", ITEM_VOCABULARY)
            event_types = _event_types(dataset, config, going_on_from)
            context = _context(dataset, config, going_on_from)
            histories, types = _typed_histories(dataset, items, config, event_types, context)
            users = numbering.of("users", USER_VOCABULARY, keep=_numbered(histories, config))
        return cls(dataset, items, users, event_types, context, histories, types)

    @property
    def watermark(self) -> datetime | None:
        """When the newest interaction was; None where there is none."""
        if not self.histories.num_interactions:
            return None
        return datetime.fromtimestamp(int(self.histories.occurred_at_us.max()) / 1e6, UTC)

    def lineage(self) -> dict[str, Any]:
        """Return where the interactions come from."""
        manifest = self.dataset.manifest
        return {
            "dataset_group": manifest.dataset_group,
            "import_id": manifest.import_id,
            "sources": [source.model_dump(mode="json") for source in manifest.sources],
            "rows_accepted": manifest.rows_accepted,
            "items_without_interactions": num_cold_items(self.dataset, self.items),
        }

    def write(self, release: Path) -> None:
        """Write the files of a release draft that hold it."""
        (release / "vocabulary").mkdir()
        self.items.save(release / ITEM_VOCABULARY)
        self.users.save(release / USER_VOCABULARY)
        self.event_types.save(release / EVENT_TYPES)
        self.context.save(release / CONTEXT)
        self.histories.save(release / HISTORIES)
        self.interaction_types.save(release / INTERACTION_TYPES, release / INTERACTION_TYPE_NUMS)
        np.save(release / POPULARITY, popularity_counts(self.histories.blocks(), len(self.items)))
        self._write_tables(release)

    def _write_tables(self, release: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="raysys-items-") as work:
            write_item_table(
                self.dataset.items_path(), self.items, release / ITEM_TABLE, Path(work)
            )
            users = self.dataset.users_path()
            if users is not None:
                known = self.dataset.user_vocabulary()  # in whose order the histories are
                write_user_table(users, known, release / USER_TABLE, Path(work))
        table = open_item_table(release / ITEM_TABLE)
        np.save(release / CREATED_AT, created_at_us(table, self.histories))


@dataclass(frozen=True)
class _Numbering:
    """Where the numbers of a release come from: the dataset, and the release before it."""

    dataset: Dataset
    before: Release | None
    work: Path

    def of(self, kind: str, name: str, *, keep: NDArray[np.bool_] | None = None) -> Vocabulary:
        """Return the vocabulary of a kind, mapped.

        Args:
            name: the file that holds it in a release.
            keep: which ids of the dataset get a number, (N,); None: all.
        """
        path = self.dataset.vocabulary_path(kind)
        if self.before is not None or keep is not None:
            known = None if self.before is None else self.before.file(name)
            wanted = Wanted(distinct_ids_of(path, self.work, keep=keep), known)
            path = write_vocabularies({kind: wanted}, self.work)[kind]
        return Vocabulary.open(path)


def _event_types(dataset: Dataset, config: PipelineConfig, before: Release | None) -> EventTypes:
    """Return the types that the model tells apart; those of the release before keep numbers."""
    if not reads_event_types(config.model):
        return NO_EVENT_TYPES
    known = NO_EVENT_TYPES if before is None else EventTypes.open(before.file(EVENT_TYPES))
    return find_event_types(dataset.interactions(FEEDBACK_COLUMNS), config.feedback, known=known)


def _typed_histories(
    dataset: Dataset,
    items: Vocabulary,
    config: PipelineConfig,
    event_types: EventTypes,
    context: ContextEncoder,
) -> tuple[Histories, InteractionTypes]:
    """Return the histories as models read them, and the type of every interaction beside them.

    One pass over the dataset does for both, unless models know some types and not all.
    """
    every = find_all_types(dataset.interactions(["event_type"]))
    if set(every.names) <= set(event_types.names):
        every = event_types
    told = event_types if event_types.names else every
    histories = dataset.histories(items, config.feedback, told, context)
    nums = histories.event_types
    if not event_types.names:
        histories = replace(histories, event_types=None)
    elif every != event_types:
        nums = dataset.histories(items, event_types=every).event_types
    if nums is None:
        nums = np.zeros(histories.num_interactions, np.int16)
    return histories, InteractionTypes(every, nums)


def _context(dataset: Dataset, config: PipelineConfig, before: Release | None) -> ContextEncoder:
    """Return the categories of the context; a release that goes on from another has its own."""
    if not reads_context(config.model):
        return NO_CONTEXT
    if before is not None:
        return ContextEncoder.open(before.file(CONTEXT))
    fields = dataset.context_fields()
    if not fields:
        return NO_CONTEXT
    columns = [field.column for field in fields]
    return fit_context(dataset.interactions(columns), fields)


def _numbered(histories: Histories, config: PipelineConfig) -> NDArray[np.bool_] | None:
    """Return which users get a number of their own, (U,); None: all."""
    model = config.model
    if not isinstance(model, TwoTowerConfig) or model.min_user_count == 1:
        return None
    num_targets = [block.num_targets() for block in histories.blocks()]
    return np.concatenate([np.zeros(0, np.int64), *num_targets]) >= model.min_user_count
