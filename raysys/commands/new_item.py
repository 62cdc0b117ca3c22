"""What a newcomer is shown of exploration: a new item is put, is shown, is clicked, and rises."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from raysys.commands.api_client import ApiClient, Reply
from raysys.commands.console import Console
from raysys.commands.released_model import ReleasedModel
from raysys.commands.taste import Catalogue
from raysys.config import ServingConfig
from raysys.errors import ServingError
from raysys.state.store import StateStore

_NEW_ITEMS = {
    f"new-film-{part}": f"A Film That Nobody Has Seen, Part {part}" for part in range(1, 11)
}
_ITEM_ID = "new-film-1"
_LENGTH = 25
_MOST_LISTS = 300
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Found:
    """The new item in one list; `place` is 1 at the top."""

    seed: int
    recommendation_id: str
    place: int
    is_explored: bool
    """Its place explored; else it stands where its score puts it."""
    explored_above: int
    """Places above it that explored too."""
    propensity: float
    """As it was logged: the chance of the item at its place, given the items above."""


@dataclass(frozen=True)
class Risen:
    """How a new item rose in one user's list, for one seed."""

    heard_after_s: float
    """From the put until every shard knew the item."""
    before: Found
    after: Found


def show_a_new_item_that_rises(
    client: ApiClient, model: ReleasedModel, serving: ServingConfig, user_id: str, console: Console
) -> Risen:
    """Put items, let one user meet one and another user click it, and compare the first one's list.

    Several are put, all of a kind, so that the one has some to rise above.

    Raises:
        ServingError: the item is not shown, or does not rise.
    """
    console.step("Put ten items that nobody knows, and see one explored")
    genres = _favourite_genres(model, user_id)
    with _watching(client, serving) as watch:
        put_at = time.monotonic()
        client.put_items(serving.dataset_group, _new_items(genres))
        watch.wait_until_heard()
        heard_after_s = time.monotonic() - put_at
        console.say(
            f"  ten films of {' and '.join(genres) or 'no genre'}, the like of what user {user_id} "
            f"watches: every shard knows them {heard_after_s:.1f} s later"
        )
        # Below another explored item, so that it has somewhere to rise to.
        before = watch.find(user_id, lambda found: found.is_explored and found.explored_above > 0)
        console.say(
            f"  user {user_id} is shown [bold]{_NEW_ITEMS[_ITEM_ID]}[/bold] at place "
            f"{before.place} of {_LENGTH}, reason Exploration, logged propensity "
            f"{before.propensity:.4f}",
            markup=True,
        )
        other = _another_user(model, user_id)
        clicked = watch.find(other, lambda _: True)
        client.put_events(serving.tracking_id, other, [_click(clicked)])
        watch.wait_until_heard()
        after = watch.ask(user_id, before.seed)
    if after is None or (after.place, -after.propensity) >= (before.place, -before.propensity):
        raise ServingError(
            f"The new item did not rise for user {user_id} after user {other} clicked it: before "
            f"{before}, after {after}."
        )
    console.say(
        f"  user {other} is shown it too, and clicks it; user {user_id} with the same seed again: "
        f"[bold]place {after.place}[/bold], propensity {after.propensity:.4f}",
        markup=True,
    )
    return Risen(heard_after_s, before, after)


class _Watch:
    """Asks for lists, and reads in the database what was logged of them."""

    def __init__(self, client: ApiClient, store: StateStore) -> None:
        self._client = client
        self._store = store

    def find(self, user_id: str, is_wanted: Callable[[Found], bool]) -> Found:
        """Return the item in the first list, by seed, in which it stands as wanted."""
        found = None
        for seed in range(_MOST_LISTS):
            found = self.ask(user_id, seed) or found
            if found is not None and found.seed == seed and is_wanted(found):
                return found
        if found is None:
            raise ServingError(f"{_MOST_LISTS} lists of user {user_id} do not show {_ITEM_ID}.")
        return found

    def ask(self, user_id: str, seed: int) -> Found | None:
        """Return where the item stands in a list, once every shard knows that it was shown."""
        reply = self._client.recommend(user_id, num_results=_LENGTH, seed=seed)
        item_ids = [member["itemId"] for member in reply.body["itemList"]]
        if _ITEM_ID not in item_ids:
            return None
        place = item_ids.index(_ITEM_ID)
        propensity = self._logged_propensity(reply, place)
        self.wait_until_heard()
        explores = ["reason" in member for member in reply.body["itemList"]]
        recommendation_id, above = reply.body["recommendationId"], sum(explores[:place])
        return Found(seed, recommendation_id, place + 1, explores[place], above, propensity)

    def wait_until_heard(self) -> None:
        """Return when every shard knows all that the database holds."""
        version = self._store.changes(0).version
        deadline = time.monotonic() + _TIMEOUT_S
        while int(self._client.get("/readyz").body.get("delta_version", 0)) < version:
            _sleep_until(deadline, "the shards to hear of what is new")

    def _logged_propensity(self, reply: Reply, place: int) -> float:
        wanted = reply.body["recommendationId"]
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            for block in self._store.log.slates(self._store.log.end()):
                for stored in block:
                    if stored.slate.recommendation_id == wanted:
                        return stored.slate.propensities[place]
            _sleep_until(deadline, "a list to be logged")


@contextmanager
def _watching(client: ApiClient, serving: ServingConfig) -> Iterator[_Watch]:
    group = serving.dataset_group
    with closing(StateStore(serving.database, group)) as store:
        yield _Watch(client, store)


def _sleep_until(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise ServingError(f"Waited {_TIMEOUT_S:.0f} s for {what}.")
    time.sleep(0.02)


def _new_items(genres: list[str]) -> list[dict[str, str]]:
    known = {"genres": "|".join(genres), "creationTimestamp": time.time()}
    return [
        {"itemId": item_id, "properties": json.dumps({"title": title, **known})}
        for item_id, title in _NEW_ITEMS.items()
    ]


def _favourite_genres(model: ReleasedModel, user_id: str) -> list[str]:
    """Return the two genres of which the user has touched most."""
    catalogue = Catalogue(model.item_table(), model.items.ids.to_pylist())
    row = int(model.histories.rows_of([user_id])[0])
    history = model.items.ids_of(model.histories.slice(row, row + 1).inputs().item_nums)
    touched = Counter(genre for item_id in history for genre in catalogue.genres(item_id))
    return [genre for genre, _ in sorted(touched.items(), key=lambda pair: (-pair[1], pair[0]))[:2]]


def _another_user(model: ReleasedModel, user_id: str) -> str:
    user_ids: list[str] = model.histories.user_ids.to_pylist()
    return user_ids[(user_ids.index(user_id) + 1) % len(user_ids)]


def _click(found: Found) -> dict[str, object]:
    return {
        "eventType": "watch",
        "itemId": _ITEM_ID,
        "sentAt": time.time(),
        "recommendationId": found.recommendation_id,
    }
