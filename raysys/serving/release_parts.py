"""What the gateway maps of a release: ids, tables, histories, popularity. No torch, no FAISS."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.config import FeedbackConfig, ItemToItemConfig
from raysys.dataset.context import ContextEncoder
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.interaction_types import InteractionTypes
from raysys.dataset.item_table import open_item_table
from raysys.dataset.popularity import best_first
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DamagedReleaseError
from raysys.index.put_items import PutItems
from raysys.release import (
    CONTEXT,
    EVENT_TYPES,
    HISTORIES,
    INTERACTION_TYPE_NUMS,
    INTERACTION_TYPES,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    POPULARITY,
    RANKING,
    USER_TABLE,
    Release,
)
from raysys.serving.item_metadata import ItemMetadata
from raysys.serving.messages import Source

_FOR_EVERYBODY: Mapping[str, Source] = {"popularity_count": "popular", "trending_now": "trending"}
"""What the lists of models are called that know no users."""


@dataclass(frozen=True, eq=False)
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
    """(N,) every item number in the order of the list that strangers get: most interactions first,
    then lowest number; where everybody gets the same list, the order that evaluation ranks."""
    item_table: pa.Table
    """In the order of the item numbers. Of it are read what answers say of their items, and what
    filters need on a gateway: those of popular lists and those that ask for the current item."""
    user_table: pa.Table | None
    """In the order of the histories; None where the dataset had none."""
    interaction_types: InteractionTypes | None
    """Of the histories; None in a release that was made before there were filters."""
    num_partitions: int
    embedding_dim: int
    history_length: int
    """The newest interactions that the query encoder reads."""
    is_unmet: NDArray[np.bool_]
    """(N + 1,) by item number: nobody had interacted with it."""
    for_everybody: Source | None = None
    """What `popular` is called where everybody gets it; None: each user has a list of their own."""
    asks_by_item: bool = False
    """The model has vectors of items that are asked about, apart from those that may be shown."""

    @cached_property
    def metadata(self) -> ItemMetadata:
        """What is known of the items, for answers."""
        return ItemMetadata(self.item_table)

    def goes_by_put(self, key: int, put: PutItems) -> bool:
        """Return whether an item's vector is made of what was put of it, see `index.delta`."""
        return key in put.new or (key in put.known and bool(self.is_unmet[key]))

    def popularity_rank(self, item_num: int) -> int:
        """Return the place of an item in `popular`, from 0."""
        return int(self._popularity_ranks[item_num])

    @cached_property
    def _popularity_ranks(self) -> NDArray[np.int32]:
        ranks = np.zeros(len(self.popular) + 1, np.int32)
        ranks[self.popular] = np.arange(len(self.popular), dtype=np.int32)
        return ranks

    @classmethod
    def load(cls, release: Release) -> "ReleaseParts":
        """Check the hashes of the files and map them into memory.

        Raises:
            DamagedReleaseError, ReleaseMismatchError, ConfigError: the release cannot be used.
        """
        release.verify(ITEM_VOCABULARY, CONTEXT, EVENT_TYPES, HISTORIES, POPULARITY, ITEM_TABLE)
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
        manifest, settings = release.manifest, release.settings()
        for_everybody = _FOR_EVERYBODY.get(manifest.model_kind)
        return cls(
            name=release.name,
            items=items,
            event_types=EventTypes.open(release.file(EVENT_TYPES)),
            context=ContextEncoder.open(release.file(CONTEXT)),
            histories=histories,
            feedback=settings.feedback,
            popular=best_first(counts) if for_everybody is None else _ranking(release),
            item_table=open_item_table(release.file(ITEM_TABLE)),
            user_table=_user_table(release),
            interaction_types=_interaction_types(release, histories),
            num_partitions=manifest.num_partitions,
            embedding_dim=manifest.embedding_dim,
            history_length=manifest.history_length,
            is_unmet=counts == 0,
            for_everybody=for_everybody,
            asks_by_item=isinstance(settings.model, ItemToItemConfig),
        )


def _ranking(release: Release) -> NDArray[np.int32]:
    release.verify(RANKING)
    ranking: NDArray[np.int32] = np.load(release.file(RANKING), mmap_mode="r", allow_pickle=False)
    if ranking.shape != (release.manifest.num_items,):
        raise DamagedReleaseError(
            f"Release {release.name} ranks {len(ranking)} items, but knows "
            f"{release.manifest.num_items}. Build the release again."
        )
    return ranking


def _user_table(release: Release) -> pa.Table | None:
    if USER_TABLE not in release.manifest.files:
        return None
    release.verify(USER_TABLE)
    return open_item_table(release.file(USER_TABLE))


def _interaction_types(release: Release, histories: Histories) -> InteractionTypes | None:
    if INTERACTION_TYPES not in release.manifest.files:
        return None
    release.verify(INTERACTION_TYPES, INTERACTION_TYPE_NUMS)
    names, nums = release.file(INTERACTION_TYPES), release.file(INTERACTION_TYPE_NUMS)
    types = InteractionTypes.open(names, nums)
    if types.nums.shape != (histories.num_interactions,):
        raise DamagedReleaseError(
            f"Release {release.name} has types of {len(types.nums)} interactions, but histories of "
            f"{histories.num_interactions}. Build the release again."
        )
    return types
