"""Users as clients put them. No SQL here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from raysys.state.properties import known_of

NOTHING_SAID = "{}"
"""The properties of a user who was put without any."""


@dataclass(frozen=True, slots=True)
class User:
    """One user as a client put them, checked by whoever built it.

    Args:
        properties: the text of a JSON object. It is all that is known of the user from now on:
            what a table or an earlier put said of them is replaced as a whole.
    """

    user_id: str
    properties: str = NOTHING_SAID

    @property
    def known(self) -> dict[str, Any]:
        """What is known of the user: nothing where a text of a client defeats the parser."""
        return known_of(self.properties)


def newest(users: Iterable[User]) -> dict[str, str]:
    """Return the properties by user: what putting all of `users`, one after the other, leaves."""
    return {user.user_id: user.properties for user in users}
