"""The rows of events, and what they do to the states of users. Inside the caller's transaction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from raysys.state.events import Event
from raysys.state.item_delta import ItemDelta
from raysys.state.state_rows import StateRows
from raysys.state.statements import Statements
from raysys.state.tombstones import Tombstones
from raysys.state.user_state import Interaction, Weigh


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

    def put(
        self,
        connection: Connection,
        events: Mapping[str, Event],
        clicks: set[str],
        rule: StateRule,
    ) -> int:
        """Store what is new of some events, by their identities, and return how many are."""
        new_identities = self._insert(connection, events, clicks)
        new_identities -= self._take_back_forgotten(connection, events, new_identities)
        new = {identity: event for identity, event in events.items() if identity in new_identities}
        new_by_user: dict[str, list[Interaction]] = {}
        for event in new.values():  # in order of arrival
            interaction = event.interaction()
            if interaction is not None:
                new_by_user.setdefault(event.user_id, []).append(interaction)
        if new_by_user:
            known = self._states.lock(connection, new_by_user)
            changed = {
                user_id: known[user_id].extended(of_user, rule.max_interactions, rule.weigh)
                for user_id, of_user in sorted(new_by_user.items())
            }
            self._states.write(connection, changed)
        self._delta.count_events(
            connection, ((event, identity in clicks) for identity, event in new.items())
        )
        return len(new)

    def _insert(
        self, connection: Connection, events: Mapping[str, Event], clicks: set[str]
    ) -> set[str]:
        """Return the identities of those that were not there before."""
        received_at_us = time.time_ns() // 1000
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
        return set(
            connection.execute(
                self._statements.insert_events, self._statements.rows(rows)
            ).scalars()
        )

    def _take_back_forgotten(
        self, connection: Connection, events: Mapping[str, Event], identities: set[str]
    ) -> set[str]:
        """Remove new events of before their users were forgotten; return which ones."""
        new = [(identity, events[identity]) for identity in identities]
        forgotten = self._tombstones.suppressed(
            connection, ((identity, event.user_id, event.occurred_at_us) for identity, event in new)
        )
        if forgotten:
            parameters = {"dataset_group": self._dataset_group, "identities": [*forgotten]}
            connection.execute(self._statements.delete_events, parameters)
        return forgotten


def _json_or_none(value: tuple[str, ...] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
