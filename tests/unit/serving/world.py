"""A small release in memory, with a real index on disk and an encoder that needs no model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy, FeedbackConfig, IndexConfig, ServingConfig
from raysys.dataset.context import NO_CONTEXT, ContextEncoder
from raysys.dataset.dataset import EVERYTHING
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.interaction_types import InteractionTypes
from raysys.dataset.popularity import best_first, popularity_counts
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ReleaseMismatchError
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import exact_top_k
from raysys.hashing import stable_hash
from raysys.index.build import build_partitions
from raysys.index.filtered import ShardFilters
from raysys.index.fresh import DAY_US, FreshPool
from raysys.index.home import Home, Unmet
from raysys.index.shard import Shard, open_partitions
from raysys.policy.policies import draw_policies
from raysys.serving.engine import Engine
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.messages import Answer, Query, Source
from raysys.serving.observer import Observer
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.served import Lane, ServedRelease
from raysys.serving.shard import Policies, answer_search, answer_vectors
from raysys.state.campaigns import CampaignVersion, Plan, Variant
from raysys.state.events import Event
from raysys.state.items import Item
from raysys.state.slates import Slate
from raysys.state.store import StateStore
from raysys.state.user_state import UserState

RELEASE = "20260101T000000-0123456789ab"
NUM_ITEMS, DIM, NUM_PARTITIONS = 60, 16, 4
ITEM_IDS = sorted(f"i{number:02}" for number in range(NUM_ITEMS))  # item number n is i(n - 1)
# Of item number n, i(n - 1): the kind is even or odd by n - 1, some odd ones are long as well.
ITEM_TABLE = pa.table(
    {
        "item_id": ITEM_IDS,
        "kind": ["odd|long" if n % 6 == 3 else ("even", "odd")[n % 2] for n in range(NUM_ITEMS)],
        "size": [None, *range(1, NUM_ITEMS)],
    }
)
HISTORIES = {"anna": [1, 2, 3], "bert": [3, 5], "carl": [3, 1, 60]}
"""Item numbers by user, oldest first. Item 3 is the most popular, then 1, then 2, 5 and 60."""
USER_TABLE = pa.table({"user_id": [*HISTORIES], "age": [30, 12, None]})
# Anna viewed, bought, viewed; bert bought, then did something without a name; carl only viewed.
INTERACTION_TYPES = InteractionTypes(
    EventTypes(names=("View", "buy")), np.array([1, 2, 1, 2, 0, 1, 1, 1], np.int16)
)


def embeddings() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((NUM_ITEMS, DIM)).astype(np.float32)


def encoded(item_nums: Sequence[int] | NDArray[np.int32]) -> NDArray[np.float32]:
    """Return what the fake encoder makes of a history: later items weigh more; order matters."""
    rows = embeddings()[np.asarray(item_nums, dtype=int) - 1]
    weights = np.arange(1, len(rows) + 1, dtype=np.float32)
    total: NDArray[np.float32] = (weights[:, None] * rows).sum(axis=0, dtype=np.float32)
    return total


class FakeEncoder:
    """Counts its calls; fails, hangs or serves another release when told to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.requests: list[EncodeRequest] = []
        self.is_down = False
        self.hangs = False
        self.release = RELEASE
        self.knows_nobody = False
        self.reads_items = True
        self.for_strangers = encoded([])

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        self.calls.append(request.user_ids)
        self.requests.append(request)
        await self.check(request.release)
        spans = zip(request.offsets[:-1], request.offsets[1:], strict=True)
        rows = [
            encoded(request.item_nums[start:end]) if end > start else self.for_strangers
            for start, end in spans
        ]
        for row, said in request.items_said.items():
            rows[row] = encoded([said["like"]] if self.reads_items else [])
        rows = [np.roll(*each) for each in zip(rows, request.contexts.tolist(), strict=True)]
        return np.stack(rows) * (0 if self.knows_nobody else 1)

    async def check(self, release: str) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.is_down:
            raise ConnectionError("the encoder is down")
        if release != self.release:
            raise ReleaseMismatchError(f"this replica serves {self.release}")


class FakeShard:
    """A real shard in this process; fails or serves another release when told to."""

    def __init__(
        self, shard: Shard, filters: ShardFilters, pool: FreshPool, policies: Policies
    ) -> None:
        self._shard = shard
        self.filters = filters
        self._policies = policies
        self.pool = pool
        self.requests: list[SearchRequest] = []
        self.batch_sizes: list[int] = []
        self.lookups: list[list[int]] = []
        self.is_down = False
        self.release = RELEASE
        self.refusals_left = 0
        self.gate: asyncio.Event | None = None
        """While it is not set, searches wait."""

    async def search(self, request: SearchRequest) -> SearchResult:
        self.batch_sizes.append(len(request.ks))
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        await self.check(request.release)
        return answer_search(self._shard, self.filters, self.pool, self._policies, request)

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self.lookups.append(keys.tolist())
        await self.check(release)
        return answer_vectors(self._shard, self.pool, keys)

    async def fresh_status(self, release: str) -> FreshStatus:
        await self.check(release)
        return FreshStatus("replica", len(self.pool), self.pool.version)

    async def check(self, release: str) -> None:
        if self.is_down:
            raise ConnectionError("the shard is down")
        if self.refusals_left:
            self.refusals_left -= 1
            raise ReleaseMismatchError("this replica serves another release")
        if release != self.release:
            raise ReleaseMismatchError(f"this replica serves {self.release}")


class CountingStore(StateStore):
    """The real store on SQLite, which counts its reads and can be made to fail."""

    reads = 0
    is_down = False

    def __init__(self, url: str, dataset_group: str) -> None:
        super().__init__(url, dataset_group)
        self.slates: list[Slate] = []

    def put_slates(self, slates: Sequence[Slate]) -> int:
        self.slates += slates
        return super().put_slates(slates)

    def user_states(self, user_ids: object) -> dict[str, UserState]:
        self.reads += 1
        self.ping()
        return super().user_states(user_ids)  # type: ignore[arg-type]

    def ping(self) -> None:
        if self.is_down:
            raise ConnectionError("the database is down")
        super().ping()


class World:
    """An engine, and the parts that it asks."""

    def __init__(
        self,
        directory: Path,
        *,
        factory: str = "Flat",
        fresh: Sequence[int] = (),
        num_shards: int = 2,
        observer: Observer | None = None,
        feedback: FeedbackConfig = EVERYTHING,
        context: ContextEncoder = NO_CONTEXT,
        for_everybody: Source | None = None,
        asks_by_item: bool = False,
        unmet: Sequence[int] = (),
        **settings: object,
    ) -> None:
        vocabulary = Vocabulary.from_ids(ITEM_IDS)
        note = build_partitions(
            directory / "index",
            embeddings(),
            ITEM_IDS,
            IndexConfig(factory=factory, num_partitions=NUM_PARTITIONS, min_recall=0),
            vocabulary.hash,
        )
        histories = Histories.from_lists(
            list(HISTORIES),
            list(HISTORIES.values()),
            [[1_000_000 * (at + 1) for at in range(len(nums))] for nums in HISTORIES.values()],
        )
        self.release = ReleaseParts(
            name=RELEASE,
            items=vocabulary,
            event_types=NO_EVENT_TYPES,
            context=context,
            histories=histories,
            feedback=feedback,
            popular=best_first(popularity_counts([histories], NUM_ITEMS)),
            item_table=ITEM_TABLE,
            user_table=USER_TABLE,
            interaction_types=INTERACTION_TYPES,
            num_partitions=NUM_PARTITIONS,
            embedding_dim=DIM,
            history_length=4,
            is_unmet=np.isin(np.arange(NUM_ITEMS + 1), unmet),
            for_everybody=for_everybody,
            asks_by_item=asks_by_item,
        )
        self.config = ServingConfig.model_validate(
            {
                "database": f"sqlite:///{directory}/state.db",
                "exploration_weight": 0,
                **settings,
            }
        )
        self.encoder = FakeEncoder()
        draws = draw_policies(self.config)
        self.shards = []
        for s in range(num_shards):
            numbers = range(s, NUM_PARTITIONS, num_shards)
            shard = open_partitions(directory / "index", numbers, note)
            filters = ShardFilters(ITEM_TABLE, shard.nums)
            pool = self._pool(fresh, s, num_shards, shard)
            self.shards.append(FakeShard(shard, filters, pool, draws))
        self.store = CountingStore(self.config.database, self.config.dataset_group)
        self.engine = Engine(self.config, self.store, observer=observer)
        parts = Parts(RELEASE, NUM_PARTITIONS, self.engine.state, self.encoder, self.shards)
        self.served = ServedRelease(self.config, self.release, parts)
        self.serve(version())

    def serve(self, *versions: CampaignVersion) -> None:
        """Answer from these versions of campaigns, all of them of this release."""
        self.engine.serve(versions, lambda _: self.served, {})

    @property
    def lane(self) -> Lane:
        """That of the campaign "default"."""
        return self.engine._campaigns["default"].lanes[0]

    async def close(self) -> None:
        await self.engine.close()
        await self.served.close()

    def put(self, *items: Item) -> None:
        """Store items, and let everybody hear of everything that changed."""
        self.store.put_items(items)
        self.follow()

    def follow(self) -> None:
        for shard in self.shards:
            changes = self.store.changes(shard.pool.version)
            shard.pool = shard.pool.with_changes(changes, time.time_ns() // 1000)
        self.served.lists.put.catch_up()

    def _pool(self, fresh: Sequence[int], shard: int, num_shards: int, index: Shard) -> FreshPool:
        home = Home(
            vocabulary=self.release.items,
            vectors_of=lambda known: (
                np.stack([embeddings()[each["like"] - 1] for each in known])
                if known
                else np.zeros((0, DIM), np.float32)
            ),
            num_partitions=NUM_PARTITIONS,
            shard=shard,
            num_shards=num_shards,
            age_cut_off_us=30 * DAY_US,
            unmet=Unmet(self.release.is_unmet, index),
        )
        nums = [num for num in sorted(fresh) if shard_of(ITEM_IDS[num - 1], num_shards) == shard]
        rows = np.array(nums, dtype=np.int32)
        return FreshPool.of_items(home, rows, embeddings()[rows - 1], np.zeros(len(rows), int))


def version(
    campaign: str = "default",
    number: int = 1,
    weight: float | None = None,
    policy: ExplorationPolicy | None = None,
) -> CampaignVersion:
    plan = Plan((Variant("unused", RELEASE, 1.0),), weight, policy)
    return CampaignVersion(campaign, number, "", plan, "serving", "", 0)


def shard_of(item_id: str, num_shards: int = 2) -> int:
    return stable_hash(item_id) % NUM_PARTITIONS % num_shards


def click(user_id: str, item_id: str, occurred_at_us: int = 10**15) -> Event:
    return Event(user_id, "session", item_id, "click", occurred_at_us)


def item_ids(nums: Sequence[int]) -> list[str]:
    return [ITEM_IDS[num - 1] for num in nums]


def ranked(history: list[int], k: int, seen: list[int], context: int = 0) -> list[str]:
    """Return what evaluation ranks for a history, asked in the context of a code."""
    nums = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)
    top = exact_top_k(
        np.roll(encoded(history), context)[None, :],
        embeddings(),
        nums,
        k,
        Exclusions.from_lists([seen]),
    )
    return item_ids(top.item_nums[0][top.item_nums[0] > 0].tolist())


def run(world: World, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await scenario()
        finally:
            await world.close()

    asyncio.run(whole())


def ask(world: World, user_id: str | None, num_results: int = 10) -> Awaitable[Answer]:
    return world.engine.recommend(Query(user_id, None, num_results))
