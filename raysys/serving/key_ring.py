"""Who may ask: the keys of the dataset group, in a gateway's memory."""

import hmac
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from raysys.config import Authentication
from raysys.errors import ConfigError, ServingError, StateError
from raysys.serving.follower import Follower
from raysys.serving.listen import reachable
from raysys.state.credentials import KeyKind, KeyScope
from raysys.state.keys import KeyTable, StoredKey
from raysys.state.sealing import Seal

_LOG = logging.getLogger("raysys.serving")

OpenSeal = Callable[[], Seal]


@dataclass(frozen=True, slots=True, eq=False)
class ActiveKey:
    """A key that was not revoked, ready to be checked against.

    Args:
        proof: of a signing key the secret, of a bearer token its hash.
        expires_at_s: since 1970 UTC; infinite where it never does.
        signing_keys: what was derived from the secret, by date and region; filled by whoever
            checks signatures, and only with those that a right signature was made with.
    """

    key_id: str
    kind: KeyKind
    proof: bytes = field(repr=False)
    scopes: frozenset[KeyScope]
    campaign: str | None = None
    expires_at_s: float = math.inf
    signing_keys: dict[tuple[str, str], hmac.HMAC] = field(default_factory=dict, repr=False)


class KeyRing:
    """The keys of one dataset group, looked up in the database twice a second.

    A new key is good, and a revoked one is refused, about half a second after the database has it.
    While the database is away the keys of before stay in force, however long that is: who could
    revoke one would have to reach that database too. Keys that expire do so on time.

    Args:
        is_always_on: keys are asked for even while there was never one.
        open_seal: opens the secrets of signing keys; ConfigError where it cannot be had.
    """

    def __init__(
        self, keys: KeyTable, *, is_always_on: bool, open_seal: OpenSeal = Seal.from_environment
    ) -> None:
        self._keys = keys
        self._is_always_on = is_always_on
        self._open_seal = open_seal
        self._version = -1
        self._active: dict[str, ActiveKey] = {}
        self._has_had_keys = False
        self._problems: dict[str, str] = {}
        self._follower = Follower("raysys-keys", "The keys", self._take_over)

    @property
    def is_on(self) -> bool:
        """Say whether requests need a key: always, or as soon as the first one was made.

        It never becomes false again: revoked keys stay in the database.
        """
        return self._is_always_on or self._has_had_keys

    def find(self, key_id: str) -> ActiveKey | None:
        """Return the key of that id, be it expired; None for one that is revoked or nobody's."""
        return self._active.get(key_id)

    def start(self) -> None:
        """Return when the keys are known, and go on following.

        Raises:
            StateError: the database cannot be used.
            ServingError: requests need a key, and there is none that is good.
        """
        self._take_over()
        now_s = time.time()
        is_any_good = any(now_s < key.expires_at_s for key in self._active.values())
        if self.is_on and not is_any_good:
            raise ServingError(_nobody_could_ask(self._problems))
        self._follower.start()

    def close(self) -> None:
        """End the thread."""
        self._follower.close()

    def _take_over(self) -> None:
        version = self._keys.version()  # first: a change in between is seen twice, never missed
        if version == self._version:
            return
        stored = self._keys.all()
        self._active, problems = opened(stored, self._open_seal)
        self._has_had_keys = self._has_had_keys or bool(stored)
        for key_id in problems.keys() - self._problems.keys():
            _LOG.error("Key %s is of no use here: %s", key_id, problems[key_id])
        self._problems = problems
        self._version = version


def open_key_ring(
    keys: KeyTable, authentication: Authentication, hosts: Sequence[str | None]
) -> KeyRing | None:
    """Return the keys to ask for, up to date and followed; None where nobody is asked for one.

    Args:
        hosts: the addresses on which anything that leads here listens.

    Raises:
        StateError: the database cannot be used.
        ServingError: a key is needed, and there is none that is good.
    """
    if authentication == "off":
        return None
    is_always_on = authentication == "required" or reachable(hosts) is not None
    ring = KeyRing(keys, is_always_on=is_always_on)
    try:
        ring.start()
    except ServingError as error:
        where = reachable(hosts)
        why = (
            "`authentication` is required"
            if authentication == "required"
            else f"it listens on {where}, which others can reach"
            if where
            else "keys were made for its dataset group"
        )
        raise ServingError(f"raysys asks for a key here, since {why}. {error}") from None
    return ring


def opened(
    stored: Iterable[StoredKey], open_seal: OpenSeal
) -> tuple[dict[str, ActiveKey], dict[str, str]]:
    """Return the keys that are not revoked, by id, and why those that cannot be used cannot."""
    active: dict[str, ActiveKey] = {}
    problems: dict[str, str] = {}
    for key in stored:
        if key.revoked_at_us is not None:
            continue
        proof = key.proof
        if key.kind == "signature":
            try:
                proof = open_seal().open(key.key_id, key.proof).encode()
            except (ConfigError, StateError) as error:
                problems[key.key_id] = str(error)
                continue
        active[key.key_id] = ActiveKey(
            key.key_id,
            key.kind,
            proof,
            frozenset(key.scopes),
            key.campaign,
            math.inf if key.expires_at_us is None else key.expires_at_us / 1e6,
        )
    return active, problems


def _nobody_could_ask(problems: dict[str, str]) -> str:
    if problems:
        return f"There are keys, but none can be used: {next(iter(problems.values()))}"
    return (
        "But there is no key that is good, so nobody could ask. Make one in the same database, "
        "`raysys keys create --database URL --scopes read,write`, and start again; "
        "docs/authentication.md has the whole way."
    )
