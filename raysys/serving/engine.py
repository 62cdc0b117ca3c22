"""The engine of a gateway: requests into micro-batches, answers out; events, items, users go in.

For a batch of B queries: one read of the users' states, one call to the query encoder for the
histories that are not cached, one call to each index shard, one merge, one mixing of fresh items.
Plain asyncio; whatever blocks (SQL) runs in threads.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from raysys.config import DEFAULT_CAMPAIGN, ServingConfig
from raysys.errors import InvalidInputError, ResourceNotFoundError, UnavailableError
from raysys.serving.intake import Intake
from raysys.serving.log_lines import REQUEST_ID
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import NoObserver, Observer
from raysys.serving.pace import Pace
from raysys.serving.served import Campaign, Lane, ServedRelease
from raysys.serving.state_reads import StateReads
from raysys.serving.unique import new_uuid
from raysys.state.campaigns import CampaignVersion
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.items import Item
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.store import StateStore
from raysys.state.users import User

_DAY_S = 86_400.0


class Engine:
    """One gateway's way from requests to answers. See `messages.Recommender`.

    It answers from what it was last told to (`serve`), and from nothing in the beginning.
    """

    def __init__(
        self, config: ServingConfig, store: StateStore, observer: Observer | None = None
    ) -> None:
        self.config = config
        self.state = StateReads(store)
        self._observer = observer or NoObserver()
        self._committer = GroupCommitter(
            store,
            retention_s=_seconds(config.event_retention_days),
            on_commit=self._observer.events,
        )
        self._intake = Intake(store)
        self._recorder = SlateRecorder(
            store,
            retention_s=_seconds(config.slate_retention_days),
            on_outcome=self._observer.slates,
        )
        self._campaigns: Mapping[str, Campaign] = {}
        self._waiting: Mapping[str, str] = {}
        self._paces: dict[str, Pace] = {}
        """Of each campaign, whatever it answers from."""

    def serve(
        self,
        versions: Iterable[CampaignVersion],
        find: Callable[[str], ServedRelease | None],
        waiting: Mapping[str, str],
    ) -> None:
        """Answer from some versions of campaigns from now on, and from no other. Requests that wait
        already are answered from what was served when they came.

        Args:
            find: what is held of a release, by its name: of each that the versions name there is
                something.
            waiting: why other campaigns cannot be served yet.
        """

        def lane_of(version: CampaignVersion, release: str) -> Lane:
            name, plan = version.campaign, version.plan
            served, before = find(release), self._campaigns.get(name)
            assert served is not None
            if before is not None and before.version.plan.explores_like(plan):
                lane = before.lane_named(release)
                if lane is not None and lane.served is served:
                    return lane  # its queue goes on
            observer = self._observer.of_campaign(name)
            return Lane(
                name, self.config, served, plan, self._pace_of(name), self._recorder, observer
            )

        self._campaigns = {
            version.campaign: Campaign.of_version(version, lane_of) for version in versions
        }
        self._waiting = waiting
        self._observer.in_service(
            {name: campaign.version.plan.releases for name, campaign in self._campaigns.items()}
        )

    async def recommend(self, query: Query) -> Answer:
        """Return an answer; parts that are away make it a degraded one, not an error.

        Raises:
            TooManyRequestsError: more come than may, too many wait already, or this one waited too
                long.
            ResourceNotFoundError, InvalidInputError, UnavailableError: there is no such campaign,
                or it is not served yet; and see `ListMaker.checked`.
        """
        return await self._campaign(query.campaign).lane_for(_who(query)).recommend(query)

    async def rank(self, query: RankQuery) -> Answer:
        """Return the items of a list, best first; parts that are away make a degraded answer.

        Raises: what `recommend` raises.
        """
        return await self._campaign(query.campaign).lane_for(query.user_id).rank(query)

    def serialised(self, answer: Answer, seconds: float) -> None:
        """Is told how long it took to put an answer into bytes."""
        campaign = self._campaigns.get(answer.campaign)
        lane = campaign and campaign.lane_named(answer.release)
        if lane:
            lane.serialised(seconds)

    def refused(self, code: str) -> None:
        """Is told that a request was answered with an error."""
        self._observer.error(code)

    async def put_events(self, events: Sequence[Event]) -> None:
        """Return when the events are committed; the next answer of every gateway knows them."""
        await self._committer.submit(events)

    async def put_items(self, items: Sequence[Item]) -> None:
        """Return when the items are committed; the shards hear of them within a second."""
        await self._intake.put_items(items)

    async def put_users(self, users: Sequence[User]) -> None:
        """Return when the users are committed; the next answer of every gateway knows them."""
        await self._intake.put_users(users)

    async def ready(self) -> Mapping[str, Any]:
        """Return what is served.

        Raises:
            UnavailableError: no campaign is served yet, or a part does not answer: it names every
                one, and why. A campaign that waits beside others takes nothing from them.
        """
        campaigns, missing = self._campaigns, []
        if not campaigns:
            missing = [f"campaign {name}: {why}" for name, why in self._waiting.items()]
            missing = missing or ["there is no campaign"]
        lanes = {lane.served: lane for each in campaigns.values() for lane in each.lanes}
        for served in lanes:
            missing += await served.parts.missing()
        if missing:
            raise UnavailableError(f"Not ready to serve: {'; '.join(dict.fromkeys(missing))}.")
        statuses = {served: await served.parts.fresh_statuses() for served in lanes}
        known = [status.delta_version for each in statuses.values() for status in each]
        return {
            "campaigns": {
                name: {
                    "version": campaign.version.version,
                    "releases": {
                        variant.release: {
                            "share": variant.share,
                            "items": len(lane.served.release.items),
                            "users": len(lane.served.release.histories),
                            "fresh_items": sum(each.num_items for each in statuses[lane.served]),
                        }
                        for variant, lane in zip(
                            campaign.version.plan.variants, campaign.lanes, strict=True
                        )
                    },
                }
                for name, campaign in campaigns.items()
            },
            "waiting": dict(self._waiting),
            "shards": self.config.num_shards,
            "delta_version": min(known, default=0),
        }

    async def close(self) -> None:
        """Commit what waits, then let go of everything but the releases."""
        await self._committer.close()
        await self._intake.close()
        await asyncio.to_thread(self._recorder.close)
        await self.state.close()

    def _campaign(self, name: str | None) -> Campaign:
        campaigns = self._campaigns
        if name is None:
            if len(campaigns) == 1 and not self._waiting:
                return next(iter(campaigns.values()))
            name = DEFAULT_CAMPAIGN
            if campaigns and name not in campaigns and name not in self._waiting:
                raise InvalidInputError(
                    f"There are several campaigns here ({', '.join(sorted(campaigns))}), so the "
                    f"request needs a campaignArn."
                )
        found = campaigns.get(name)
        if found is not None:
            return found
        if name in self._waiting or not campaigns:
            why = self._waiting.get(name, "nothing is deployed")
            raise UnavailableError(f"Campaign {name!r} is not served yet: {why}.")
        raise ResourceNotFoundError(
            f"There is no campaign {name!r} here; this server has {', '.join(sorted(campaigns))}."
        )

    def _pace_of(self, campaign: str) -> Pace:
        limit = self.config.max_requests_per_s
        share = None if limit is None else limit / self.config.num_gateways
        return self._paces.setdefault(campaign, Pace(share))


def _who(query: Query) -> str:
    """Return by what a query is given to one of several releases: who asks, else about what.

    The list that everybody gets is asked for by nobody in particular. Then each request is one of
    its own: by its seed, for which the same list comes again, or by its id, which one that is sent
    again has, too.
    """
    if query.user_id is not None:
        return query.user_id
    if query.item_id is not None:
        return query.item_id
    return str(query.seed) if query.seed is not None else REQUEST_ID.get() or new_uuid()


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * _DAY_S
