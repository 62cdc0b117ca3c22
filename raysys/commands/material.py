"""What a release holds apart from its model: vocabularies, histories, items, out of a dataset."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from raysys.config import FeedbackConfig
from raysys.dataset.creation import created_at_us
from raysys.dataset.dataset import EVERYTHING, Dataset, open_dataset
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table, write_item_table
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.baselines import popularity_counts
from raysys.release import (
    CREATED_AT,
    HISTORIES,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    POPULARITY,
    USER_VOCABULARY,
)


@dataclass(frozen=True)
class Material:
    """A dataset in the numbers of two vocabularies."""

    dataset: Dataset
    items: Vocabulary
    users: Vocabulary
    histories: Histories
    """Of every user of the dataset, with the interactions that count."""

    @classmethod
    def of(
        cls,
        path: Path,
        feedback: FeedbackConfig = EVERYTHING,
        *,
        items: Vocabulary | None = None,
        users: Vocabulary | None = None,
    ) -> "Material":
        """Open a dataset.

        Args:
            feedback: says which interactions count.
            items, users: vocabularies to go on from: their ids keep their numbers, and those that
                they lack follow. None: every id of the dataset is numbered anew.

        Raises:
            DatasetError: there is no dataset, or it is damaged.
        """
        dataset = open_dataset(path)
        item_ids, user_ids = dataset.item_vocabulary(), dataset.user_vocabulary()
        items = item_ids if items is None else items.extended(item_ids.ids)
        users = user_ids if users is None else users.extended(user_ids.ids)
        histories = dataset.histories(items, feedback)
        return cls(dataset, items, users, histories)

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
        }

    def write(self, release: Path) -> None:
        """Write the files of a release draft that hold it."""
        (release / "vocabulary").mkdir()
        self.items.save(release / ITEM_VOCABULARY)
        self.users.save(release / USER_VOCABULARY)
        self.histories.save(release / HISTORIES)
        np.save(release / POPULARITY, popularity_counts(self.histories.blocks(), len(self.items)))
        self._write_items(release)

    def _write_items(self, release: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="raysys-items-") as work:
            write_item_table(
                self.dataset.items_path(), self.items, release / ITEM_TABLE, Path(work)
            )
        table = open_item_table(release / ITEM_TABLE)
        np.save(release / CREATED_AT, created_at_us(table, self.histories))
