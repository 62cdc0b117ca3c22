"""Keeps what a gateway knows of put and hidden items up with the database."""

from collections.abc import Callable

from raysys.dataset.vocabulary import Vocabulary
from raysys.index.put_items import NOTHING_PUT, PutItems
from raysys.serving.follower import PATIENCE_S, Follower
from raysys.state.items import Changes


class PutFollower:
    """Asks the database every half second what changed, in a thread of its own.

    While the database is away `items` stays as it is. It is replaced, never changed, so that what
    takes it once has items of one moment.

    Args:
        vocabulary: says which items the release knows.
        read: returns the items and hidings that changed after a version, without counts.
    """

    def __init__(self, vocabulary: Vocabulary, read: Callable[[int], Changes]) -> None:
        self.items: PutItems = NOTHING_PUT
        self._version = 0
        self._vocabulary = vocabulary
        self._read = read
        self._follower = Follower("raysys-put", "What was put of the items", self.catch_up)

    def start(self, patience_s: float = PATIENCE_S) -> None:
        """Return when all is known that the database has, or after `patience_s`; go on following.

        Raises:
            StateError: the database can never be used.
        """
        self._follower.catch_up_within(patience_s)
        self._follower.start()

    def catch_up(self) -> None:
        """Ask once. Raises what reading the database raises."""
        changes = self._read(self._version)
        if changes.version < self._version:  # another database stands there now
            self.items, self._version = NOTHING_PUT, 0
            changes = self._read(0)
        self.items = self.items.with_changes(changes, self._vocabulary)
        self._version = changes.version

    def close(self) -> None:
        """End the thread."""
        self._follower.close()
