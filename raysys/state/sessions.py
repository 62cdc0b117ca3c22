"""Anonymous sessions join the users that they turn out to be. No SQL here.

A visitor who has not logged in is known by the session alone: its id stands in place of the user's.
The first event that carries both says whose session it is, and from then on what it did and does
counts for that user. When another user shows up in it, as on a shared machine or with a client that
knows one session only, the session is nobody's: what was joined stays with the first, what follows
joins nobody. Since it changes hands at most once, clients that give everybody the same session id
cost nothing.

The session keeps what it did itself, for as long as somebody asks with its id. What a client calls
a session and is the id of a user, of one who has events with a session of another name or was put,
joins nobody: else whoever knew a user's id could have their history. Where it had joined somebody,
who only called it a session, it leaves them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raysys.state.events import Event
from raysys.state.user_state import Interaction, Membership, UserState

_MOST_REMEMBERED = 100_000

_NOBODYS = ""  # no id is empty


class KnownSessions:
    """What a process has seen of sessions: spares questions, and is never taken for an answer.

    A session changes from unknown to somebody's to nobody's and never back, but for users who are
    forgotten, of whom `needs` is told.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def needs(self, event: Event, *, was_forgotten: bool) -> bool:
        """Return whether an event may say something new of its session."""
        if event.user_id == event.session_id:
            return False
        return was_forgotten or self._owners.get(event.session_id) not in (event.user_id, _NOBODYS)

    def owner(self, session_id: str) -> str | None:
        """Return whose session it probably is."""
        return self._owners.get(session_id) or None

    def learn(self, states: Mapping[str, UserState]) -> None:
        """Remember states that are committed."""
        if len(self._owners) > _MOST_REMEMBERED:
            self._owners.clear()
        for session_id, state in states.items():
            owner, shared_at_us = state.membership
            if owner is not None:
                is_ones = shared_at_us is None and owner != session_id
                self._owners[session_id] = owner if is_ones else _NOBODYS


@dataclass(slots=True)
class Arrivals:
    """What some events add to the states of users.

    Args:
        received_at_us: microseconds since 1970 UTC.
        own: by user, or by the session of a visitor: what their new events say.
        visits: those of visitors alone.
        named: users whom an event names beside another session, in the order of arrival.
        pairs: the session and the user of those events that may say something new.
    """

    received_at_us: int
    own: dict[str, list[Interaction]] = field(default_factory=dict)
    visits: dict[str, list[Interaction]] = field(default_factory=dict)
    named: dict[str, None] = field(default_factory=dict)
    pairs: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, event: Event, *, is_new: bool, is_pair: bool) -> None:
        """Take an event, in the order of arrival."""
        if is_new and (interaction := event.interaction()) is not None:
            self.own.setdefault(event.user_id, []).append(interaction)
            if event.user_id == event.session_id:
                self.visits.setdefault(event.session_id, []).append(interaction)
        if event.user_id != event.session_id:
            self.named[event.user_id] = None
        if is_pair:
            self.pairs[event.session_id, event.user_id] = None

    def ids(self, sessions: KnownSessions) -> set[str]:
        """Return whose states are needed, as far as can be told before they are read."""
        owners = (sessions.owner(session_id) for session_id in self.visits)
        paired = (each for pair in self.pairs for each in pair)
        return {*self.own, *paired, *(owner for owner in owners if owner is not None)}

    def owners(self, known: Mapping[str, UserState]) -> set[str]:
        """Return who else's are needed by what these states say."""
        owners = {_owner_of(known[session_id], session_id) for session_id in self.visits}
        return {owner for owner in owners if owner is not None} - known.keys()

    def memberships(self, known: Mapping[str, UserState]) -> dict[str, Membership]:
        """Return what ids stand for by now, where that is news."""
        now = {user_id: state.membership for user_id, state in known.items()}
        for user_id in self.named:
            if user_id in self.own or (user_id in known and known[user_id].says_something):
                now[user_id] = Membership(user_id)
        for session_id, user_id in self.pairs:
            owner, shared_at_us = now[session_id]
            if owner is None:
                now[session_id] = Membership(user_id)
                if known[session_id].interactions or session_id in self.visits:
                    now[user_id] = Membership(user_id)
            elif owner not in (session_id, user_id) and shared_at_us is None:
                now[session_id] = Membership(owner, self.received_at_us)
        return {each: now[each] for each, state in known.items() if now[each] != state.membership}

    def additions(
        self, known: Mapping[str, UserState], changed: Mapping[str, Membership]
    ) -> dict[str, Sequence[Interaction]]:
        """Return the interactions that each state gets: those of sessions first, then its own."""
        joined: dict[str, list[Interaction]] = {}
        for session_id in {**dict.fromkeys(self.visits), **changed}:
            state, visits = known[session_id], self.visits.get(session_id, [])
            owner, gained = _owner_of(state, session_id), visits
            if state.membership.joined_to is None and session_id in changed:
                owner, gained = changed[session_id].joined_to, [*state.interactions, *visits]
            if owner is not None and owner != session_id and gained:
                joined.setdefault(owner, []).extend(gained)
        return {
            user_id: [*joined.get(user_id, ()), *self.own.get(user_id, ())]
            for user_id in {**joined, **self.own}
        }


def user_of(session_id: str, received_at_us: int, membership: Membership) -> str:
    """Return for whom an event of a visitor counts in the end, by when it was received."""
    owner, shared_at_us = membership
    if owner is None or (shared_at_us is not None and received_at_us >= shared_at_us):
        return session_id
    return owner


def _owner_of(state: UserState, session_id: str) -> str | None:
    """Return for whom else what a session does counts now."""
    owner, shared_at_us = state.membership
    return owner if owner != session_id and shared_at_us is None else None
