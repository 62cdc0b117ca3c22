"""A release that nobody trained: real in size and cost, random in taste.

What serving costs does not depend on what a model has learnt, so that benchmarks and tests of
serving need no training. Random ids, histories and weights, all from one seed.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import ipc

from raysys import storage
from raysys.config import (
    GruConfig,
    IndexConfig,
    ModelConfig,
    PipelineConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.creation import created_at_us
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.interaction_types import InteractionTypes
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.vocabulary import Vocabulary
from raysys.index.build import build_partitions
from raysys.index.cold_start import fit_cold_start
from raysys.models.base import TowerModel
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue
from raysys.models.sequence import SequenceModel
from raysys.models.two_tower import TwoTower
from raysys.models.weights import save_model
from raysys.release import (
    CONFIG,
    CONTEXT,
    CREATED_AT,
    EVENT_TYPES,
    HISTORIES,
    INDEX_DIRECTORY,
    INTERACTION_TYPE_NUMS,
    INTERACTION_TYPES,
    ITEM_TABLE,
    ITEM_VOCABULARY,
    MODEL_DIRECTORY,
    POPULARITY,
    USER_VOCABULARY,
    Release,
    publishing,
)

_FIRST_INTERACTION_US = 880_000_000_000_000  # 1997, as in MovieLens-100K
_FRESH_S = 30 * 86_400
_NUM_TUNING = 1_024
_GENRES, _SHELVES = 18, 100


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """What two towers shall have learnt.

    Args:
        items: (N, D) float32.
        users: (U, D) float32.
    """

    items: NDArray[np.float32]
    users: NDArray[np.float32]


def publish_random_release(
    releases: Path,
    *,
    num_items: int = 1_682,
    num_users: int = 943,
    mean_length: int = 106,
    model: GruConfig | TransformerConfig | None = None,
    index: IndexConfig | None = None,
    event_types: EventTypes = NO_EVENT_TYPES,
    vectors: Vectors | None = None,
    max_fresh: int | None = None,
    seed: int = 0,
) -> Release:
    """Publish a release with the sizes of MovieLens-100K, or others, and return it.

    Args:
        event_types: of the interactions, each as likely as the others.
        vectors: makes a release of two towers with these vectors, whose queries are the users', and
            by some of which an approximate index is tuned. `num_items`, `num_users` and `model` say
            nothing then.
        max_fresh: of the tenth of all items that are younger than 30 days, so many stay so.
    """
    settings: ModelConfig = model or GruConfig()
    if vectors is not None:
        settings = TwoTowerConfig(embedding_dim=vectors.items.shape[1])
        num_items, num_users = len(vectors.items), len(vectors.users)
    index = index or IndexConfig()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    items = Vocabulary.from_ids(f"item-{number}" for number in range(num_items))
    users = Vocabulary.from_ids(f"user-{number}" for number in range(num_users))
    histories = _random_histories(rng, items, users, mean_length)
    if event_types.names:
        drawn = rng.integers(1, len(event_types) + 1, histories.num_interactions, dtype=np.int16)
        histories = replace(histories, event_types=drawn)
    network = build_model(
        settings, num_items=num_items, num_users=num_users, num_event_types=len(event_types)
    )
    _teach(network, vectors)
    with publishing(releases) as draft:
        (draft.path / "vocabulary").mkdir()
        items.save(draft.path / ITEM_VOCABULARY)
        users.save(draft.path / USER_VOCABULARY)
        NO_CONTEXT.save(draft.path / CONTEXT)
        event_types.save(draft.path / EVENT_TYPES)
        histories.save(draft.path / HISTORIES)
        types = histories.event_types
        if types is None:
            types = np.zeros(histories.num_interactions, np.int16)
        InteractionTypes(event_types, types).save(
            draft.path / INTERACTION_TYPES, draft.path / INTERACTION_TYPE_NUMS
        )
        counts = popularity_counts(histories.blocks(), num_items)
        np.save(draft.path / POPULARITY, counts)
        table = _item_table(rng, items, histories, max_fresh)
        with ipc.new_file(str(draft.path / ITEM_TABLE), table.schema) as sink:
            sink.write_table(table)
        np.save(draft.path / CREATED_AT, created_at_us(table, histories))
        save_model(
            network, draft.path / MODEL_DIRECTORY, num_users=num_users, vocabulary=items.hash
        )
        embeddings = encode_catalogue(network)
        queries = None if vectors is None else vectors.users[:_NUM_TUNING]
        directory = draft.path / INDEX_DIRECTORY
        note = build_partitions(
            directory, embeddings, items.ids, index, items.hash, queries=queries
        )
        fit_cold_start(embeddings, table, counts[1:]).save(draft.path)
        config = PipelineConfig(model=settings, index=index)
        storage.write_json(draft.path / CONFIG, config.model_dump(mode="json"))
        return draft.publish(
            recipe="random",
            model_kind=settings.kind,
            embedding_dim=embeddings.shape[1],
            history_length=settings.history_length,
            vocabulary=items.hash,
            num_items=num_items,
            num_users=num_users,
            num_partitions=index.num_partitions,
            index_factory=note.factory,
            watermark=datetime.fromtimestamp(int(histories.occurred_at_us.max()) / 1e6, UTC),
            metrics={},
            lineage={"seed": seed},
        )


def _teach(network: TowerModel, vectors: Vectors | None) -> None:
    """Put the vectors that are given into the towers, else chance where else zeros would be."""
    if isinstance(network, TwoTower) and vectors is not None:
        with torch.no_grad():
            network.candidate_tower.ids.weight[1:] = torch.from_numpy(vectors.items)
            network.query_tower.ids.weight[1:] = torch.from_numpy(vectors.users)
    if isinstance(network, SequenceModel):
        for table in (network.event_types, network.gaps):
            if table is not None:
                torch.nn.init.normal_(table.weight.detach()[1:])


def _item_table(
    rng: np.random.Generator, items: Vocabulary, histories: Histories, max_fresh: int | None
) -> pa.Table:
    """Two genres and a shelf for each item, of which a tenth are younger than 30 days."""
    pairs = [f"genre-{one}|genre-{other}" for one in range(_GENRES) for other in range(_GENRES)]
    genres = rng.integers(0, _GENRES, (len(items), 2)) @ [_GENRES, 1]
    ages_s = rng.integers(0, 10 * _FRESH_S, len(items))
    if max_fresh is not None:
        ages_s[np.flatnonzero(ages_s < _FRESH_S)[max_fresh:]] += _FRESH_S
    created_at_s = histories.occurred_at_us.max() // 1_000_000 - ages_s
    shelves = pa.array([f"shelf-{shelf}" for shelf in range(_SHELVES)])
    columns = {"item_id": items.ids, "title": items.ids, "genres": pa.array(pairs).take(genres)}
    columns["shelf"] = shelves.take(rng.integers(0, _SHELVES, len(items)))
    return pa.table({**columns, "creation_timestamp": created_at_s})


def _random_histories(
    rng: np.random.Generator, items: Vocabulary, users: Vocabulary, mean_length: int
) -> Histories:
    """Draw items by a Zipf law, once each per user, a minute apart; lengths vary as in a log."""
    share = 1 / np.arange(1, len(items) + 1)
    shares = np.cumsum(share / share.sum())
    spread = rng.lognormal(0.0, 0.8, len(users))
    lengths = (spread * mean_length / spread.mean()).astype(int).clip(1, len(items) // 2)
    nums = [_distinct(rng, shares, length) + 1 for length in lengths.tolist()]
    starts = _FIRST_INTERACTION_US + rng.integers(0, 10**13, len(users))
    times = [start + 60_000_000 * np.arange(n) for start, n in zip(starts, lengths, strict=True)]
    return Histories(
        users.ids,
        offsets_of(lengths),
        np.concatenate(nums).astype(np.int32),
        np.concatenate(times).astype(np.int64),
        items.hash,
    )


def _distinct(
    rng: np.random.Generator, shares: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Draw different rows, one after the other, as `rng.choice` does that looks at all of them.

    Args:
        shares: what a row and all before it are drawn with, (N,).
    """
    drawn = np.zeros(0, np.int64)
    while len(drawn) < count:
        more = np.searchsorted(shares, rng.random(2 * count), side="right")
        drawn = np.concatenate([drawn, np.minimum(more, len(shares) - 1)])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return drawn[:count]
