"""What the campaigns of one application are to answer from, and which replicas are ready for it.

An operator says what a campaign is to answer from: that is a version of it. What becomes of a
version is its status:

    wanted      said, and nothing done about it yet
    preparing   every part loads its releases beside those that it has
    serving     it is what gateways answer from
    kept        it was that before; its releases stay loaded, for the way back
    failed      it could not be served, and `reason` says why
    replaced    it is over
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from raysys.config import ExplorationPolicy
from raysys.state.database import Database
from raysys.state.learning import newest_number
from raysys.state.many_rows import insert_of
from raysys.state.tables import campaign_versions, replicas

Status = Literal["wanted", "preparing", "serving", "kept", "failed", "replaced"]


class Variant(msgspec.Struct, frozen=True):
    """One release that a campaign answers from: where it lies, its name, and its share of users."""

    path: str
    release: str
    share: float


class Plan(msgspec.Struct, frozen=True):
    """What a version of a campaign answers from.

    Args:
        exploration_weight, exploration_policy: None: that of the server.
    """

    variants: tuple[Variant, ...] = ()
    exploration_weight: float | None = None
    exploration_policy: ExplorationPolicy | None = None

    @property
    def releases(self) -> list[str]:
        """The names of its releases, in order."""
        return [variant.release for variant in self.variants]

    def explores_like(self, other: "Plan") -> bool:
        """Say whether requests that name neither weight nor policy get the same of both."""
        mine = (self.exploration_weight, self.exploration_policy)
        return mine == (other.exploration_weight, other.exploration_policy)


class Wish(msgspec.Struct, frozen=True):
    """What somebody asked of a campaign.

    Args:
        asked: their words; the same ones again, of the newest version, change nothing.
        plan: what they mean now.
        problem: why that can never be served; empty where nothing speaks against it yet.
        lease_number: of the lease under which it was learnt (`raysys.state.learning`): where there
            is a newer one by now, it is a problem. None: an operator asked.
    """

    asked: str
    plan: Plan
    problem: str = ""
    lease_number: int | None = None


_LATE = "Who learnt it had lost the lease: another one learns since."
_WITHDRAWAL = Wish("", Plan(), "It was withdrawn.")


class CampaignVersion(msgspec.Struct, frozen=True):
    """A version of a campaign, as it is stored."""

    campaign: str
    version: int
    asked: str
    plan: Plan
    status: Status
    reason: str
    changed_at_us: int
    """Microseconds since 1970 UTC."""


def is_changing(versions: Iterable[CampaignVersion]) -> bool:
    """Say whether a campaign is on its way to another version."""
    return any(version.status in ("wanted", "preparing") for version in versions)


class Move(msgspec.Struct, frozen=True):
    """A version that changes its status, if it still has the one that it had."""

    version: CampaignVersion
    becomes: Status
    reason: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a replica of a part answers gateways, and the secret that both must know."""

    part: str
    host: str
    port: int
    secret: str


class Report(msgspec.Struct, frozen=True):
    """What a replica says of itself.

    Args:
        endpoint: of a replica that gateways call.
        ready: names of the releases that it holds.
        failed: why it cannot hold others, by name.
        in_service: of a gateway: the version of each campaign that it answers from.
        followed: of the director: the settings of campaigns that it follows, as JSON.
        refused: of the director: why these are not those that were deployed last.
    """

    endpoint: Endpoint | None = None
    ready: tuple[str, ...] = ()
    failed: Mapping[str, str] = {}
    in_service: Mapping[str, int] = {}
    followed: str = ""
    refused: str = ""


class Replica(msgspec.Struct, frozen=True):
    """A replica and what it said last; it may have died since."""

    name: str
    report: Report


_DIRECTOR = "director"
"""The name by which the director reports: there is one, and the next takes the report over."""

_PLAN, _REPORT = msgspec.json.Decoder(Plan), msgspec.json.Decoder(Report)
_COLUMNS = [
    campaign_versions.c[name]
    for name in ("campaign", "version", "asked", "plan", "status", "reason", "changed_at_us")
]


class CampaignTable:
    """The campaigns of one application; any thread may use it. Errors are those of the store."""

    def __init__(self, database: Database, dataset_group: str, application: str) -> None:
        self._database = database
        self._key = {"dataset_group": dataset_group, "application": application}
        self._upsert_replica = _upsert_replica(database.dialect_name)

    def want(self, wishes: Mapping[str, Wish]) -> None:
        """Make these the campaigns that there are; each wish that is new becomes a version.

        A version that is under way to be served makes way for a newer one, but not for one of a
        lease that was lost. Campaigns that are not
        named are withdrawn, which is a version too.
        """

        def write(connection: Connection) -> None:
            rows = connection.execute(
                select(campaign_versions).where(self._is_ours(campaign_versions)).order_by(*_ORDER)
            ).all()
            newest = {row.campaign: row for row in rows}
            for campaign in set(newest) - set(wishes):
                if newest[campaign].asked:
                    self._end(connection, campaign, _OPEN)
                    version = newest[campaign].version + 1
                    self._insert(connection, campaign, version, _WITHDRAWAL, "replaced")
            for campaign, wish in wishes.items():
                found = newest.get(campaign)
                if found is None or found.asked != wish.asked:
                    if self._is_late(connection, wish):  # what is under way goes on
                        wish = msgspec.structs.replace(wish, problem=_LATE)
                    else:
                        self._end(connection, campaign, ("wanted", "preparing"))
                    version = 1 if found is None else found.version + 1
                    status: Status = "failed" if wish.problem else "wanted"
                    self._insert(connection, campaign, version, wish, status)

        self._database.write(write)

    def follow(self, settings: str) -> None:
        """Store the settings of campaigns, as JSON, that are followed from now on."""
        self.report(Replica(_DIRECTOR, Report(followed=settings)))

    def refuse(self, reason: str) -> None:
        """Store why settings are not followed that were deployed, but those before them."""
        followed = self.director().followed
        self.report(Replica(_DIRECTOR, Report(followed=followed, refused=reason)))

    def director(self) -> Report:
        """Return what the director said last: what is followed, and what is not, and why."""
        return self.said_by(_DIRECTOR) or Report()

    def open(self) -> list[CampaignVersion]:
        """Return the versions that are not over, by campaign and version; among them the newest of
        a campaign if it failed."""
        is_open = campaign_versions.c.status.in_((*_OPEN, "failed"))
        found = self._versions(and_(self._is_ours(campaign_versions), is_open))
        newest = {version.campaign: version for version in found}
        return [
            version
            for version in found
            if version.status != "failed" or version is newest[version.campaign]
        ]

    def history(self) -> list[CampaignVersion]:
        """Return every version that there ever was, by campaign and version."""
        return self._versions(self._is_ours(campaign_versions))

    def move(self, moves: Sequence[Move]) -> None:
        """Change the status of some versions, all of them or none."""

        def write(connection: Connection) -> None:
            for move in moves:
                named = campaign_versions.c.campaign == move.version.campaign
                numbered = campaign_versions.c.version == move.version.version
                as_was = campaign_versions.c.status == move.version.status
                values = {"status": move.becomes, "reason": move.reason, "changed_at_us": _now_us()}
                connection.execute(
                    update(campaign_versions)
                    .where(self._is_ours(campaign_versions), named, numbered, as_was)
                    .values(values)
                )

        if moves:
            self._database.write(write)

    def report(self, replica: Replica) -> None:
        """Store what a replica says."""
        row = {
            **self._key,
            "replica": replica.name,
            "report": msgspec.json.encode(replica.report).decode(),
        }
        self._database.write(lambda connection: connection.execute(self._upsert_replica, row))

    def replicas(self) -> list[Replica]:
        """Return what every replica said last, those that died among them, but for the director."""
        return [each for each in self._reported() if each.name != _DIRECTOR]

    def endpoints(self) -> list[Endpoint]:
        """Return where replicas answer, some of which may have died since."""
        reports = (each.report for each in self._reported())
        return [report.endpoint for report in reports if report.endpoint is not None]

    def said_by(self, name: str) -> Report | None:
        """Return what a replica said last; None where that is not known."""
        return next((each.report for each in self._reported([name])), None)

    def forget(self, names: Sequence[str]) -> None:
        """Remove replicas, of which some may not be there."""
        is_named = replicas.c.replica.in_(names)
        statement = delete(replicas).where(self._is_ours(replicas), is_named)
        if names:
            self._database.write(lambda connection: connection.execute(statement))

    def _reported(self, names: Sequence[str] | None = None) -> list[Replica]:
        query = select(replicas).where(self._is_ours(replicas)).order_by(replicas.c.replica)
        if names is not None:
            query = query.where(replicas.c.replica.in_(names))
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [Replica(row.replica, _REPORT.decode(row.report)) for row in rows]

    def _versions(self, condition: ColumnElement[bool]) -> list[CampaignVersion]:
        query = select(*_COLUMNS).where(condition).order_by(*_ORDER)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [CampaignVersion(**{**row._mapping, "plan": _PLAN.decode(row.plan)}) for row in rows]

    def _insert(
        self, connection: Connection, campaign: str, version: int, wish: Wish, status: Status
    ) -> None:
        values = {
            **self._key,
            "campaign": campaign,
            "version": version,
            "asked": wish.asked,
            "plan": msgspec.json.encode(wish.plan).decode(),
            "status": status,
            "reason": wish.problem,
            "changed_at_us": _now_us(),
        }
        connection.execute(campaign_versions.insert().values(values))

    def _is_late(self, connection: Connection, wish: Wish) -> bool:
        """Say whether who learnt it had lost the lease by then."""
        if wish.lease_number is None:
            return False
        return wish.lease_number != newest_number(connection, **self._key)

    def _end(self, connection: Connection, campaign: str, statuses: tuple[Status, ...]) -> None:
        columns = campaign_versions.c
        is_one = and_(columns.campaign == campaign, columns.status.in_(statuses))
        connection.execute(
            update(campaign_versions)
            .where(self._is_ours(campaign_versions), is_one)
            .values(status="replaced", changed_at_us=_now_us())
        )

    def _is_ours(self, table: Any) -> ColumnElement[bool]:
        return and_(*(table.c[name] == value for name, value in self._key.items()))


_ORDER = (campaign_versions.c.campaign, campaign_versions.c.version)
_OPEN: tuple[Status, ...] = ("wanted", "preparing", "serving", "kept")


def _upsert_replica(dialect_name: str) -> Any:
    upsert = insert_of(dialect_name)(replicas)
    return upsert.on_conflict_do_update(
        index_elements=["dataset_group", "application", "replica"],
        set_={"report": upsert.excluded.report},
    )


def _now_us() -> int:
    return time.time_ns() // 1000
