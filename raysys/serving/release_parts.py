"""What the gateway maps of a release: ids, histories, popularity. No torch, no FAISS."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.config import FeedbackConfig
from raysys.dataset.context import ContextEncoder
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DamagedReleaseError
from raysys.release import CONTEXT, EVENT_TYPES, HISTORIES, ITEM_VOCABULARY, POPULARITY, Release


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseParts:
    """One release as the gateway knows it."""

    name: str
    items: Vocabulary
    event_types: EventTypes
    """Those that histories tell apart."""
    context: ContextEncoder
    """Makes codes of what requests say of the moment."""
    histories: Histories
    """Of the whole log that the release was made from, with what each interaction weighs."""
    feedback: FeedbackConfig
    """Says it, of the events that come later too."""
    popular: NDArray[np.int32]
    """(N,) every item number: most interactions first, then lowest number."""
    num_partitions: int
    embedding_dim: int
    history_length: int
    """The newest interactions that the query encoder reads."""

    @classmethod
    def load(cls, release: Release) -> "ReleaseParts":
        """Check the hashes of the files and map them into memory.

        Raises:
            DamagedReleaseError, ReleaseMismatchError, ConfigError: the release cannot be used.
        """
        release.verify(ITEM_VOCABULARY, CONTEXT, EVENT_TYPES, HISTORIES, POPULARITY)
        items = Vocabulary.open(release.file(ITEM_VOCABULARY))
        release.check_vocabulary("item vocabulary", items.hash)
        histories = Histories.open(release.file(HISTORIES))
        release.check_vocabulary("histories file", histories.vocabulary_hash)
        counts = np.load(release.file(POPULARITY), allow_pickle=False)
        if counts.shape != (len(items) + 1,):
            raise DamagedReleaseError(
                f"Release {release.name} counts the interactions of {len(counts) - 1} items, but "
                f"knows {len(items)}. Build the release again."
            )
        manifest = release.manifest
        return cls(
            name=release.name,
            items=items,
            event_types=EventTypes.open(release.file(EVENT_TYPES)),
            context=ContextEncoder.open(release.file(CONTEXT)),
            histories=histories,
            feedback=release.settings().feedback,
            popular=by_popularity(counts),
            num_partitions=manifest.num_partitions,
            embedding_dim=manifest.embedding_dim,
            history_length=manifest.history_length,
        )


def by_popularity(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return every item number: highest count first, the lower number first among equals.

    Args:
        counts: (N + 1,) interactions by item number; the unknown item in row 0 is left out.
    """
    order: NDArray[np.int64] = np.argsort(-counts[1:], kind="stable") + 1
    return order.astype(np.int32)
