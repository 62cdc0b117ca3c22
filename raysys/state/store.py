"""The store: events, items, users and slates go in; users' states and changed items come out."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from raysys.errors import StateError
from raysys.state.campaigns import CampaignTable
from raysys.state.database import Database
from raysys.state.event_retention import EventRetention
from raysys.state.event_rows import EventRows, StateRule
from raysys.state.events import Event
from raysys.state.filters import FilterTable
from raysys.state.forgetting import Forgetting, ForgottenRows
from raysys.state.item_delta import ItemDelta
from raysys.state.items import Changes, Item, merged
from raysys.state.keys import KeyTable
from raysys.state.learning import LearningTable
from raysys.state.log_reader import LogReader
from raysys.state.migrations import is_current, prepare_schema
from raysys.state.slate_rows import SlateRows
from raysys.state.slates import Slate
from raysys.state.state_rows import StateRows
from raysys.state.statements import Statements
from raysys.state.tombstones import Tombstones
from raysys.state.user_state import UserState, Weigh, all_clicks
from raysys.state.users import User, newest


@dataclass(frozen=True, slots=True)
class PutResult:
    """How many events of one call are new, and how many the store held already, or passes over."""

    stored: int
    duplicates: int


class StateStore:
    """Events, user states, items and slates of one dataset group; any thread may use it.

    Args:
        url: a SQLAlchemy URL, `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        dataset_group: what is stored under another name is neither seen nor changed.
        max_interactions_per_user: the newest ones kept in a user's state. Events are all kept.
        weigh: says which events are clicks, and which of them push others out of a user's state.
        must_exist: refuse a database that no raysys made yet instead of making it.

    Raises:
        StateError: the database cannot be opened, or was made by a newer raysys.
        StateUnavailableError: it does not answer now, or another process keeps it locked.
    """

    def __init__(
        self,
        url: str,
        dataset_group: str,
        max_interactions_per_user: int = 2000,
        *,
        weigh: Weigh = all_clicks,
        must_exist: bool = False,
    ) -> None:
        if max_interactions_per_user < 1:
            raise StateError(
                f"max_interactions_per_user must be at least 1, but got "
                f"{max_interactions_per_user}."
            )
        self._dataset_group = dataset_group
        self._rule = StateRule(max_interactions_per_user, weigh)
        self._database = Database(url, must_exist=must_exist)
        self._statements = Statements(self._database.dialect_name)
        dialect_name = self._database.dialect_name
        tombstones = Tombstones(dialect_name, dataset_group)
        self._states = StateRows(self._statements, tombstones, dataset_group)
        self._delta = ItemDelta(dialect_name, dataset_group)
        self._events = EventRows(
            self._statements, self._states, self._delta, tombstones, dataset_group
        )
        self._retention = EventRetention(dialect_name, dataset_group)
        self._slates = SlateRows(self._statements, self._delta, tombstones, dataset_group)
        self.log = LogReader(self._database, dataset_group)
        """All events and slates, to be read from the first to the last."""
        self.keys = KeyTable(self._database, dataset_group)
        """The keys of those who may ask."""
        self.filters = FilterTable(self._database, dataset_group)
        """Its named filters."""
        try:
            if not self._database.read(is_current):
                self._database.write(
                    lambda connection: prepare_schema(
                        connection, self._database.name, must_exist=must_exist
                    )
                )
        except BaseException:
            self._database.close()
            raise

    def campaigns(self, application: str) -> CampaignTable:
        """Return what the campaigns of an application are to answer from."""
        return CampaignTable(self._database, self._dataset_group, application)

    def learning(self, application: str) -> LearningTable:
        """Return who learns for an application, and what became of it."""
        return LearningTable(self._database, self._dataset_group, application)

    def keep(self, max_interactions_per_user: int, weigh: Weigh) -> None:
        """Keep so many interactions in a user's state from now on, by another rule."""
        self._rule = StateRule(max_interactions_per_user, weigh)

    def put_events(self, events: Sequence[Event]) -> PutResult:
        """Store the events and update their users' states, all of it or nothing.

        Of equal events (`Event.identity`) the first is stored, whether the others come in the
        same call, in a later one or from another process. A user's version grows by one for all
        that one call changes. Items that are counted (see `changes`) get a click for each new event
        that names them and weighs more than 0, and an impression for each whose `impression` does.
        One that names a list adds no impression, which the list does, and a click only on what the
        list showed. A session whose user they name joins that user (`raysys.state.sessions`). What
        happened before its user was forgotten (`forget`) is passed over.
        """
        distinct: dict[str, Event] = {}
        with _refusal_of("An event"):
            for event in events:
                distinct.setdefault(event.identity(), event)
            if not distinct:
                return PutResult(0, 0)
            rule = self._rule
            clicks = rule.clicks(distinct)
            stored, changed = self._database.write(
                lambda connection: self._events.put(connection, distinct, clicks, rule)
            )
            self._events.committed(changed)
        return PutResult(stored, len(events) - stored)

    def put_items(self, items: Sequence[Item]) -> int:
        """Store items, all of them or none, and return the delta version that holds them.

        What an earlier put said of an item is replaced, but for the time of its creation where
        this one names none; an item that was never put before is created now. From here on its
        impressions and clicks are counted.
        """
        distinct = merged(items)
        if not distinct:
            return self._database.read(self._delta.version)
        now_us = time.time_ns() // 1000
        with _refusal_of("An item"):
            return self._database.write(
                lambda connection: self._delta.put(connection, distinct, now_us)
            )

    def put_users(self, users: Sequence[User]) -> None:
        """Store users, all of them or none; each is from now on what this put says of them."""
        properties = newest(users)
        if properties:
            with _refusal_of("A user"):
                self._database.write(
                    lambda connection: self._states.describe(connection, properties)
                )

    def put_slates(self, slates: Sequence[Slate]) -> int:
        """Store slates, all of them or none, and return how many are new.

        Of equal recommendation ids the first is stored. A new slate adds one impression to each of
        its `fresh_item_ids`, and the clicks of events that named it earlier; an item that was not
        counted before begins here.
        """
        distinct: dict[str, Slate] = {}
        for slate in slates:
            distinct.setdefault(slate.recommendation_id, slate)
        if not distinct:
            return 0
        with _refusal_of("A slate"):
            return self._database.write(lambda connection: self._slates.put(connection, distinct))

    def prune_slates(self, shown_before_us: int, *, at_most: int) -> int:
        """Remove old slates, the oldest first, and return how many were removed.

        Only the oldest `at_most` are looked at, so a call costs the same however many there are.
        What was counted of them stays counted, and events that name them stay.
        """
        return self._database.write(
            lambda connection: self._slates.prune(connection, shown_before_us, at_most)
        )

    def take_over(self, event_num: int) -> None:
        """Remember that a dataset has the events up to a number: `prune_events` may remove them."""
        self._database.write(lambda connection: self._retention.take_over(connection, event_num))

    def prune_events(self, received_before_us: int, *, at_most: int) -> int:
        """Remove old events that a dataset has, the oldest first; return how many were removed.

        As `prune_slates`. States and counts stay; an event id is known as long as its event.
        """
        return self._database.write(
            lambda connection: self._retention.prune(connection, received_before_us, at_most)
        )

    def forget(
        self, user_ids: Iterable[str], on_progress: Callable[[int, int], None] = lambda *_: None
    ) -> ForgottenRows:
        """Remove the events, slates and states of users, for good; several short transactions.

        The same of the sessions that had joined them; `forget_sessions` is the last step of that.

        What still arrives of them and happened before is not stored. What happens later is that of
        a new user. Numbers that their events and slates added to items stay. Killed and run again,
        it ends the same.

        Args:
            on_progress: told how many numbers of events and slates are done, and of how many.
        """
        forgetting = Forgetting(self._database, self._dataset_group, on_progress)
        with _refusal_of("The id of a user"):
            return forgetting.forget(user_ids, time.time_ns() // 1000)

    def forget_sessions(self, session_ids: Iterable[str]) -> None:
        """Remove the last that is known of sessions whose users were forgotten, here and elsewhere.

        To be called with what `forget` returned, when nobody needs to know any more whose they
        were.
        """
        forgetting = Forgetting(self._database, self._dataset_group)
        forgetting.forget_sessions(session_ids, time.time_ns() // 1000)

    def changes(self, since: int) -> Changes:
        """Return the items and counts that changed after the delta version `since`; 0 means all.

        What one call shows is of one moment, and who asks next with the version that it got misses
        nothing and sees nothing twice. Counted are items that were put and items that a slate
        named as fresh, each from then on.
        """
        return self._database.read(lambda connection: self._delta.changes(connection, since))

    def changed_items(self, since: int) -> Changes:
        """Return what `changes` does, without counts."""
        return self._database.read(
            lambda connection: self._delta.changes(connection, since, has_counts=False)
        )

    def hide_items(self, item_ids: Iterable[str], *, is_hidden: bool = True) -> int:
        """Keep items from everybody, or show them again; return the delta version that says so.

        They need not have been put, and a put changes nothing of it.
        """
        distinct = {*item_ids}
        if not distinct:
            return self._database.read(self._delta.version)
        with _refusal_of("The id of an item"):
            return self._database.write(
                lambda connection: self._delta.hide(connection, distinct, is_hidden)
            )

    def hidden_items(self) -> list[str]:
        """Return the ids of the items that are kept from everybody, sorted."""
        return self._database.read(self._delta.hidden)

    def user_states(self, user_ids: Iterable[str]) -> dict[str, UserState]:
        """Return the states of those users of whom there is one; the others have no key."""
        wanted = set(user_ids)
        if not wanted:
            return {}
        return self._database.read(lambda connection: self._states.read(connection, wanted))

    def ping(self) -> None:
        """Return if the database answers; StateError or StateUnavailableError otherwise."""
        self._database.read(lambda connection: connection.execute(self._statements.ping).close())

    def close(self) -> None:
        self._database.close()


@contextmanager
def _refusal_of(thing: str) -> Iterator[None]:
    """Turn what drivers let through as it is into a StateError."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        raise StateError(
            f"{thing} holds a value that no database stores ({error}), so none of its call was "
            f"stored."
        ) from error
