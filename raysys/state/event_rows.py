"""The rows of events, and what they do to the states of users. Inside the caller's transaction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection

from raysys.state.events import Event
from raysys.state.item_delta import ItemDelta
from raysys.state.sessions import Arrivals, KnownSessions
from raysys.state.state_rows import StateRows
from raysys.state.statements import Statements
from raysys.state.tombstones import Tombstones
from raysys.state.user_state import UserState, Weigh


@dataclass(frozen=True, slots=True)
class StateRule:
    """What of its events a user's state keeps."""

    max_interactions: int
    weigh: Weigh

    def clicks(self, events: Mapping[str, Event]) -> set[str]:
        """Return the identities of the events that are clicks."""
        named = {identity: event.interaction() for identity, event in events.items()}
        interactions = {identity: each for identity, each in named.items() if each is not None}
        weights = self.weigh([*interactions.values()])
        return {
            identity for identity, weight in zip(interactions, weights, strict=True) if weight > 0
        }


class EventRows:
    """The events of one dataset group."""

    def __init__(
        self,
        statements: Statements,
        states: StateRows,
        delta: ItemDelta,
        tombstones: Tombstones,
        dataset_group: str,
    ) -> None:
        self._statements = statements
        self._states = states
        self._delta = delta
        self._tombstones = tombstones
        self._dataset_group = dataset_group
        self._sessions = KnownSessions()

    def put(
        self,
        connection: Connection,
        events: Mapping[str, Event],
        clicks: set[str],
        rule: StateRule,
    ) -> tuple[int, dict[str, UserState]]:
        """Store what is new of some events, by their identities.

        Returns how many are new, and the states that changed, for `committed`.
        """
        received_at_us = time.time_ns() // 1000
        new_identities = self._insert(connection, events, clicks, received_at_us)
        # Asked once the rows are there: whoever forgets at this moment has ended by now, and is
        # heard of, or waits for this transaction, and finds them.
        stones = self._tombstones.of(connection, {event.user_id for event in events.values()})
        arrivals, new, forgotten = Arrivals(received_at_us), dict[str, Event](), list[str]()
        for identity, event in events.items():
            stone, is_new = stones.get(event.user_id), identity in new_identities
            if stone is None or event.occurred_at_us > stone.forgotten_at_us:
                is_pair = self._sessions.needs(event, was_forgotten=stone is not None)
                arrivals.add(event, is_new=is_new, is_pair=is_pair)
                if is_new:
                    new[identity] = event
            elif is_new:
                forgotten.append(identity)
        if forgotten:
            parameters = {"dataset_group": self._dataset_group, "identities": forgotten}
            connection.execute(self._statements.delete_events, parameters)
        changed = self._change_states(connection, arrivals, rule)
        self._delta.count_events(
            connection, ((event, identity in clicks) for identity, event in new.items())
        )
        return len(new), changed

    def committed(self, states: Mapping[str, UserState]) -> None:
        """Remember what `put` returned, once it is committed."""
        self._sessions.learn(states)

    def _change_states(
        self, connection: Connection, arrivals: Arrivals, rule: StateRule
    ) -> dict[str, UserState]:
        wanted = arrivals.ids(self._sessions)
        if not wanted:
            return {}
        known = self._states.lock(connection, wanted)
        if others := arrivals.owners(known):
            known |= self._states.lock(connection, others)
        memberships = arrivals.memberships(known)
        additions = arrivals.additions(known, memberships)
        changed = {}
        for user_id in sorted({*additions, *memberships}):
            state = known[user_id]
            interactions = additions.get(user_id, ())
            next_state = state.extended(interactions, rule.max_interactions, rule.weigh)
            membership = memberships.get(user_id, state.membership)
            changed[user_id] = replace(next_state, membership=membership)
        if changed:
            self._states.write(connection, changed)
        return changed

    def _insert(
        self,
        connection: Connection,
        events: Mapping[str, Event],
        clicks: set[str],
        received_at_us: int,
    ) -> set[str]:
        """Return the identities of those that were not there before."""
        rows = [
            {
                "dataset_group": self._dataset_group,
                "identity": identity,
                "user_id": event.user_id,
                "session_id": event.session_id,
                "item_id": event.item_id,
                "event_type": event.event_type,
                "occurred_at_us": event.occurred_at_us,
                "received_at_us": received_at_us,
                "event_id": event.event_id,
                "event_value": event.event_value,
                "properties": event.properties,
                "recommendation_id": event.recommendation_id,
                "impression": _json_or_none(event.impression),
                "is_click": identity in clicks,
            }
            for identity, event in events.items()
        ]
        return self._statements.new_events.insert(connection, rows)


def _json_or_none(value: tuple[str, ...] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
