"""What one gateway answers from, kept up with the campaigns."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from raysys.dataset.feedback import weights_of_interactions
from raysys.release import Release
from raysys.serving.director import check_servable
from raysys.serving.engine import Engine
from raysys.serving.exchange import Encoder, IndexShard
from raysys.serving.parts import Parts
from raysys.serving.release_keeper import ReleaseKeeper
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.served import ServedRelease
from raysys.state.campaigns import CampaignVersion
from raysys.state.store import StateStore
from raysys.state.user_state import Interaction, Weigh, all_clicks

_WARM_UP_S = 30.0

ResultT = TypeVar("ResultT")


class GatewayReleases:
    """Holds the releases of a gateway, and tells its engine which campaigns to answer from.

    Args:
        store: that of the engine, which closes it; it keeps of users what any of the releases
            reads.
        replica: see `ReleaseKeeper`.
    """

    def __init__(
        self,
        engine: Engine,
        store: StateStore,
        encoder: Encoder,
        shards: Sequence[IndexShard],
        *,
        replica: str,
    ) -> None:
        self._engine = engine
        self._store = store
        self._encoder = encoder
        self._shards = shards
        self._in_service: dict[str, CampaignVersion] = {}
        self._told: object = None
        self._loop = asyncio.get_running_loop()
        self._keeper = ReleaseKeeper(
            replica,
            lambda: store.campaigns(engine.config.application),
            self._load,
            warm_up=lambda served: self._on_loop(served.warm_up()),
            drop=lambda served: self._on_loop(served.close()),
            on_versions=self._follow,
        )

    async def start(self) -> None:
        """Return when what is served is held; StateError: the database can never be used."""
        await asyncio.to_thread(self._keeper.start)

    async def close(self) -> None:
        await asyncio.to_thread(self._keeper.close)

    def _on_loop(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WARM_UP_S)

    def _load(self, release: Release) -> ServedRelease:
        check_servable(release, self._engine.config)
        parts = ReleaseParts.load(release)
        hops = Parts(
            parts.name, parts.num_partitions, self._engine.state, self._encoder, self._shards
        )
        served = ServedRelease(self._engine.config, parts, hops)
        served.follow()
        return served

    def _follow(self, versions: list[CampaignVersion]) -> Mapping[str, int]:
        """Have the engine answer from what is served, as far as it is held here."""
        newest = {version.campaign: version for version in versions}
        wanted = {each.campaign: each for each in versions if each.status == "serving"}
        serving, waiting = {}, {}
        for campaign in newest:
            best = self._best(campaign, wanted.get(campaign))
            if best is not None:
                serving[campaign] = best
            else:
                waiting[campaign] = self._why_not(newest[campaign])
        now = (serving, waiting)
        if now != self._told:
            self._keep_what_they_read(serving.values())
            self._on_loop(self._serve(serving, waiting))
            self._in_service, self._told = serving, now
        return {campaign: version.version for campaign, version in self._in_service.items()}

    def _best(self, campaign: str, wanted: CampaignVersion | None) -> CampaignVersion | None:
        """Return what a campaign is to answer from: what is wanted, if it is held, else what it
        answers from already, as long as that is held."""
        for version in (wanted, self._in_service.get(campaign)):
            if version is not None and all(map(self._keeper.find, version.plan.releases)):
                return version
        return None

    def _why_not(self, version: CampaignVersion) -> str:
        if version.status == "failed":
            return f"version {version.version} failed: {version.reason}"
        missing = [
            f"release {release}: {self._keeper.why_not(release)}"
            for release in version.plan.releases
            if self._keeper.find(release) is None
        ]
        return "; ".join(missing) or "the other parts are loading it"

    async def _serve(
        self, serving: Mapping[str, CampaignVersion], waiting: Mapping[str, str]
    ) -> None:
        self._engine.serve(serving.values(), self._keeper.find, waiting)

    def _keep_what_they_read(self, versions: Iterable[CampaignVersion]) -> None:
        """Have the store keep of each user what the most demanding release reads, and count as a
        click what any of them takes for one."""
        held = {
            found
            for version in versions
            for release in version.plan.releases
            if (found := self._keeper.find(release)) is not None
        }
        lengths = [served.release.history_length for served in held]
        rules = {
            served.release.feedback.model_dump_json(): served.release.feedback for served in held
        }
        self._store.keep(
            max([self._engine.config.max_seen_items, *lengths]),
            _most_of([partial(weights_of_interactions, config=rule) for rule in rules.values()]),
        )


def _most_of(rules: Sequence[Weigh]) -> Weigh:
    """Return the rule by which an interaction weighs what the most generous of some says."""
    if len(rules) < 2:
        return rules[0] if rules else all_clicks

    def weigh(interactions: Sequence[Interaction]) -> Iterable[float]:
        weights = [np.fromiter(rule(interactions), float, len(interactions)) for rule in rules]
        most: list[float] = np.max(weights, axis=0).tolist()
        return most

    return weigh
