"""What a gateway answers from: the releases that it holds, and the campaigns made of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from raysys.config import ServingConfig
from raysys.errors import ServingError, TooManyRequestsError
from raysys.hashing import stable_hash
from raysys.serving.asked import Asked
from raysys.serving.batcher import Batcher
from raysys.serving.list_maker import ListMaker
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import CampaignObserver, Trace, report_of
from raysys.serving.pace import Pace
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.state.campaigns import CampaignVersion, Plan
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.slates import Slate

_MAX_BATCHES_IN_FLIGHT = 4
_NUM_USERS_TRIED = 4
_HASHES = 1 << 64

AskedT = TypeVar("AskedT")


class ServedRelease:
    """One release as a gateway holds it: what is mapped of it, its parts, and its lists."""

    def __init__(self, config: ServingConfig, release: ReleaseParts, parts: Parts) -> None:
        self.release = release
        self.parts = parts
        self.lists = ListMaker(config, release, parts)

    async def warm_up(self) -> bool:
        """Say whether every part answers for this release, and lists come out in the end.

        Raises:
            ServingError: there are users, and none of those tried gets anything.
        """
        if await self.parts.missing():
            return False
        rows = np.linspace(0, len(self.release.histories) - 1, _NUM_USERS_TRIED).astype(int)
        user_ids = [self.release.histories.user_ids[row].as_py() for row in np.unique(rows)]
        queries = [Query(user_id, None, 10, exploration_weight=0.0) for user_id in user_ids]
        batch = [await self.lists.checked(query) for query in queries if query.user_id]
        if not batch:
            return True
        answers, _ = await self.lists.make(batch, Trace())
        if any(answer.degraded for answer in answers):
            return False
        if not any(answer.item_ids for answer in answers):
            raise ServingError(
                f"Release {self.release.name} has no item for any of {len(batch)} of its users."
            )
        return True

    def follow(self) -> None:
        """Catch up with what was put and hidden, then follow it, in a thread. Blocks meanwhile."""
        self.lists.put.start()

    async def close(self) -> None:
        await asyncio.to_thread(self.lists.put.close)
        await self.parts.close()


class Lane:
    """The queues of one release of one campaign, in one gateway.

    Args:
        plan: of the campaign's version; what it says of exploration goes before the server's.
        pace: that of the campaign, whose requests go through it in whatever lane.
        observer: told of every batch.
    """

    def __init__(
        self,
        campaign: str,
        config: ServingConfig,
        served: ServedRelease,
        plan: Plan,
        pace: Pace,
        recorder: SlateRecorder,
        observer: CampaignObserver,
    ) -> None:
        self.served = served
        self._campaign = campaign
        self._config = config
        self.plan = plan
        self._pace = pace
        self._recorder = recorder
        self._observer = observer
        self._queries: Batcher[Asked, Answer] = self._batcher(served.lists.make)
        self._rankings: Batcher[tuple[Asked, RankQuery], Answer] = self._batcher(
            served.lists.rerank
        )
        self._num_too_fast = 0
        self._num_refused = 0
        """Of all that were refused, those that the observer was told of."""
        self._serialise_s = 0.0
        """What answers took to become bytes, of which the observer was not told yet."""

    async def recommend(self, query: Query) -> Answer:
        self._take_a_turn()
        if query.exploration_weight is None:
            query.exploration_weight = self.plan.exploration_weight
        if query.exploration_policy is None:
            query.exploration_policy = self.plan.exploration_policy
        return await self._queries.submit(await self.served.lists.checked(query))

    async def rank(self, query: RankQuery) -> Answer:
        self._take_a_turn()
        return await self._rankings.submit(await self.served.lists.checked_list(query))

    def serialised(self, seconds: float) -> None:
        self._serialise_s += seconds

    def _take_a_turn(self) -> None:
        try:
            self._pace.take(time.monotonic())
        except TooManyRequestsError:
            self._num_too_fast += 1
            raise

    def _batcher(
        self,
        make: Callable[[list[AskedT], Trace], Awaitable[tuple[list[Answer], list[Slate]]]],
    ) -> Batcher[AskedT, Answer]:
        """Return what lets queries travel together, traced, and their slates be remembered."""

        async def answer(batch: list[AskedT]) -> list[Answer]:
            trace = Trace()
            try:
                answers, slates = await make(batch, trace)
                if self._config.record:
                    self._recorder.record(slates)
                for each in answers:
                    each.campaign = self._campaign
                return answers
            finally:
                self._observer.work(trace)

        return Batcher(
            answer,
            max_batch_size=self._config.max_batch_size,
            max_in_flight=_MAX_BATCHES_IN_FLIGHT,
            max_queued=self._config.max_queued_requests,
            deadline_s=self._config.deadline_s,
            on_batch=self._report,
        )

    def _report(
        self, answers: Sequence[Answer] | None, size: int, queued_s: float, seconds: float
    ) -> None:
        refused = self._num_too_fast + self._queries.num_refused + self._rankings.num_refused
        num_refused, self._num_refused = refused - self._num_refused, refused
        serialise_s, self._serialise_s = self._serialise_s, 0.0
        report = report_of(
            answers,
            size=size,
            latency_s=seconds,
            queued_s=queued_s,
            serialise_s=serialise_s,
            num_refused=num_refused,
        )
        self._observer.batch(report)


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """A version of a campaign in service, with a lane for each of its releases.

    Args:
        bounds: of a user's hash: the share of the first lane, of the first two, and so on to 1.
    """

    version: CampaignVersion
    lanes: tuple[Lane, ...]
    bounds: tuple[float, ...]

    @classmethod
    def of_version(
        cls, version: CampaignVersion, lane_of: Callable[[CampaignVersion, str], Lane]
    ) -> "Campaign":
        """Put a campaign together.

        Args:
            lane_of: from a version and the name of one of its releases to the lane.
        """
        shares = np.array([variant.share for variant in version.plan.variants])
        bounds = tuple((shares.cumsum() / shares.sum()).tolist())
        lanes = tuple(lane_of(version, variant.release) for variant in version.plan.variants)
        return cls(version, lanes, bounds)

    def lane_for(self, who: str) -> Lane:
        """Return the lane of a user, of an item for which similar ones are asked, or of a request
        of nobody: always the same one as long as the shares stay, and apart from what other
        campaigns choose."""
        if len(self.lanes) == 1:
            return self.lanes[0]
        place = stable_hash(f"{self.version.campaign}\0{who}") / _HASHES
        for lane, bound in zip(self.lanes, self.bounds, strict=True):
            if place < bound:
                return lane
        return self.lanes[-1]

    def lane_named(self, release: str) -> Lane | None:
        """Return the lane of a release."""
        return next((lane for lane in self.lanes if lane.served.release.name == release), None)
