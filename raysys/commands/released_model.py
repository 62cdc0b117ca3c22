"""A release's model in this process: ranking as evaluation ranks, without a server."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.context import ContextEncoder
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.retriever import EmbeddingRetriever
from raysys.models.base import EmbeddingModel
from raysys.models.encode import HistoryEncoder, encode_catalogue
from raysys.models.weights import load_model
from raysys.release import (
    CONTEXT,
    EVENT_TYPES,
    HISTORIES,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    MODEL_DIRECTORY,
    POPULARITY,
    USER_VOCABULARY,
    Release,
)


class ReleasedModel:
    """Everything of a release that ranking needs, verified and loaded."""

    def __init__(self, release: Release) -> None:
        release.verify(ITEM_VOCABULARY, USER_VOCABULARY, EVENT_TYPES, CONTEXT)
        release.verify(HISTORIES, ITEM_TABLE, POPULARITY)
        release.verify(
            *(name for name in release.manifest.files if name.startswith(f"{MODEL_DIRECTORY}/"))
        )
        self.release = release
        self.items = Vocabulary.open(release.file(ITEM_VOCABULARY))
        self.users = Vocabulary.open(release.file(USER_VOCABULARY))
        release.check_vocabulary("item vocabulary", self.items.hash)
        self.event_types = EventTypes.open(release.file(EVENT_TYPES))
        self.context = ContextEncoder.open(release.file(CONTEXT))
        self.histories = Histories.open(release.file(HISTORIES))
        self.counts: NDArray[np.int64] = np.load(release.file(POPULARITY), allow_pickle=False)
        self.model = load_model(release.path / MODEL_DIRECTORY, vocabulary=self.items.hash)
        popular = FixedRanking(self.counts)
        self.retriever = embedding_retriever(self.model, self.users, popular)

    def item_table(self) -> pa.Table:
        """Return the item table, in the order of the item numbers."""
        return open_item_table(self.release.file(ITEM_TABLE))

    def ranked(self, histories: Histories, k: int, *, max_seen_items: int) -> list[list[str]]:
        """Return the ids of the k best unseen items for each history, best first."""
        seen = histories.newest_distinct(max_seen_items)
        top = self.retriever.top_k(histories.inputs(), k, excluded=seen)
        return [self.items.ids_of(row[row > 0]) for row in top.item_nums]


def embedding_retriever(
    model: EmbeddingModel, users: Vocabulary, for_strangers: FixedRanking | None = None
) -> EmbeddingRetriever:
    """Return the model behind the door that baselines share.

    Args:
        for_strangers: what they get of whom nothing is known; None: nothing is found for them.
    """
    candidates = encode_catalogue(model)
    nums = np.arange(1, len(candidates) + 1, dtype=np.int32)

    encoder = HistoryEncoder(model)  # lays the weights out once, not for every block of users

    def encode(histories: Histories) -> NDArray[np.float32]:
        num_buckets = encoder.num_user_buckets
        user_nums = users.numbers(histories.user_ids, num_buckets=num_buckets)
        return encoder.encode(histories, user_nums=user_nums)

    return EmbeddingRetriever(encode, candidates, nums, for_strangers)
