"""A gateway follows what was put and hidden, with a database that is made up."""

import pytest

from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import StateError, StateUnavailableError
from raysys.serving import follower as following
from raysys.serving.put_follower import PutFollower
from raysys.state.items import Changes, ItemHiding, StoredItem

ITEMS = Vocabulary.from_ids(["a", "b"])


class Database:
    """Each change is one item, or one hiding, under the next version; fails when told to."""

    def __init__(self) -> None:
        self.changes: list[StoredItem | ItemHiding] = []
        self.failures: list[Exception] = []
        self.asked: list[int] = []

    def read(self, since: int) -> Changes:
        self.asked.append(since)
        if self.failures:
            raise self.failures.pop(0)
        new = self.changes[since:]
        return Changes(
            len(self.changes),
            [each for each in new if isinstance(each, StoredItem)],
            [],
            [each for each in new if isinstance(each, ItemHiding)],
        )


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_EVERY_S", 0.001)


def put(item_id: str) -> StoredItem:
    return StoredItem(item_id, "{}", 0)


def known(follower: PutFollower) -> tuple[list[str], list[int], list[int]]:
    items = follower.items
    return [each.item_id for each in items.new.values()], [*items.known], sorted(items.hidden)


def test_what_changed_is_taken_over_and_nothing_new_leaves_the_very_same_snapshot() -> None:
    database = Database()
    follower = PutFollower(ITEMS, database.read)
    database.changes = [put("new"), put("b"), ItemHiding("a", True)]
    follower.catch_up()
    before = follower.items
    assert known(follower) == (["new"], [2], [1])
    follower.catch_up()
    assert follower.items is before
    database.changes += [ItemHiding("a", False), ItemHiding("a", True), ItemHiding("b", True)]
    follower.catch_up()
    assert known(follower) == (["new"], [2], [1, 2])
    assert before.hidden == {1}
    assert database.asked == [0, 3, 3]


def test_another_database_in_its_place_is_read_from_the_beginning() -> None:
    database = Database()
    follower = PutFollower(ITEMS, database.read)
    database.changes = [put("x"), put("y"), put("z")]
    follower.catch_up()
    database.changes = [put("other")]
    follower.catch_up()
    assert known(follower) == (["other"], [], [])


def test_it_has_caught_up_when_it_starts_however_often_it_must_ask() -> None:
    database = Database()
    database.changes = [put("new")]
    database.failures = [StateUnavailableError("it is away")] * 2
    follower = PutFollower(ITEMS, database.read)
    follower.start()
    assert known(follower)[0] == ["new"]
    follower.close()


def test_it_starts_without_a_database_and_not_with_one_that_can_never_be_used() -> None:
    database = Database()
    database.failures = [StateUnavailableError("it is away")]
    follower = PutFollower(ITEMS, database.read)
    follower.start(patience_s=0)
    follower.close()
    database.failures = [StateError("a newer raysys made it")]
    with pytest.raises(StateError, match="a newer raysys"):
        PutFollower(ITEMS, database.read).start()
