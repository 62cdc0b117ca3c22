"""A release that nobody trained: real in size and cost, random in taste.

What serving costs does not depend on what a model has learnt, so that benchmarks and tests of
serving need no training. Random ids, histories and weights, all from one seed.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import ipc

from raysys import storage
from raysys.config import GruConfig, IndexConfig, PipelineConfig, TransformerConfig
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.creation import created_at_us
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.interaction_types import InteractionTypes
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.vocabulary import Vocabulary
from raysys.index.build import build_partitions
from raysys.index.cold_start import fit_cold_start
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue
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


def publish_random_release(
    releases: Path,
    *,
    num_items: int = 1_682,
    num_users: int = 943,
    mean_length: int = 106,
    model: GruConfig | TransformerConfig | None = None,
    index: IndexConfig | None = None,
    event_types: EventTypes = NO_EVENT_TYPES,
    seed: int = 0,
) -> Release:
    """Publish a release with the sizes of MovieLens-100K, or others, and return it.

    Args:
        event_types: of the interactions, each as likely as the others.
    """
    model, index = model or GruConfig(), index or IndexConfig()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    items = Vocabulary.from_ids(f"item-{number}" for number in range(num_items))
    users = Vocabulary.from_ids(f"user-{number}" for number in range(num_users))
    histories = _random_histories(rng, items, users, mean_length)
    if event_types.names:
        drawn = rng.integers(1, len(event_types) + 1, histories.num_interactions, dtype=np.int16)
        histories = replace(histories, event_types=drawn)
    network = build_model(
        model, num_items=num_items, num_users=num_users, num_event_types=len(event_types)
    )
    for table in (network.event_types, network.gaps):
        if table is not None:  # else zeros
            torch.nn.init.normal_(table.weight.detach()[1:])
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
        table = _item_table(rng, items, histories)
        with ipc.new_file(str(draft.path / ITEM_TABLE), table.schema) as sink:
            sink.write_table(table)
        np.save(draft.path / CREATED_AT, created_at_us(table, histories))
        save_model(
            network, draft.path / MODEL_DIRECTORY, num_users=num_users, vocabulary=items.hash
        )
        embeddings = encode_catalogue(network)
        note = build_partitions(
            draft.path / INDEX_DIRECTORY, embeddings, items.ids, index, items.hash
        )
        fit_cold_start(embeddings, table, counts[1:]).save(draft.path)
        config = PipelineConfig(model=model, index=index)
        storage.write_json(draft.path / CONFIG, config.model_dump(mode="json"))
        return draft.publish(
            recipe="random",
            model_kind=model.kind,
            embedding_dim=embeddings.shape[1],
            history_length=model.history_length,
            vocabulary=items.hash,
            num_items=num_items,
            num_users=num_users,
            num_partitions=index.num_partitions,
            index_factory=note.factory,
            watermark=datetime.fromtimestamp(int(histories.occurred_at_us.max()) / 1e6, UTC),
            metrics={},
            lineage={"seed": seed},
        )


def _item_table(rng: np.random.Generator, items: Vocabulary, histories: Histories) -> pa.Table:
    """Two genres and a shelf for each item, of which a tenth are younger than 30 days."""
    genres = [f"genre-{one}|genre-{other}" for one, other in rng.integers(0, 18, (len(items), 2))]
    ages_s = rng.integers(0, 300 * 86_400, len(items))
    created_at_s = histories.occurred_at_us.max() // 1_000_000 - ages_s
    columns = {"item_id": items.ids, "title": items.ids, "genres": genres}
    columns["shelf"] = [f"shelf-{shelf}" for shelf in rng.integers(0, 100, len(items))]
    return pa.table({**columns, "creation_timestamp": created_at_s})


def _random_histories(
    rng: np.random.Generator, items: Vocabulary, users: Vocabulary, mean_length: int
) -> Histories:
    """Draw items by a Zipf law, once each per user, a minute apart; lengths vary as in a log."""
    share = 1 / np.arange(1, len(items) + 1)
    share /= share.sum()
    spread = rng.lognormal(0.0, 0.8, len(users))
    lengths = (spread * mean_length / spread.mean()).astype(int).clip(1, len(items) // 2)
    nums = [rng.choice(len(items), length, replace=False, p=share) + 1 for length in lengths]
    starts = _FIRST_INTERACTION_US + rng.integers(0, 10**13, len(users))
    times = [start + 60_000_000 * np.arange(n) for start, n in zip(starts, lengths, strict=True)]
    return Histories(
        users.ids,
        offsets_of(lengths),
        np.concatenate(nums).astype(np.int32),
        np.concatenate(times).astype(np.int64),
        items.hash,
    )
