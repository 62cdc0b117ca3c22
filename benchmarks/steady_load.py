"""Clients that ask all the time while something happens, and check every answer."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from raysys.commands.api_client import ApiClient
from raysys.errors import ServingError

Lists = Mapping[str, Sequence[str]]
"""The list of each user."""


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        answers: of each one when it came, by the monotonic clock, and how many ms it took, from
            when it was due.
        releases: those that the answers named, in the order in which each client met them.
        wrong: answers that are not the list of the release that they name, or are none.
    """

    answers: list[tuple[float, float]] = field(default_factory=list)
    releases: set[tuple[str, ...]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


@contextlib.contextmanager
def steady_load(
    url: str,
    lists: Mapping[str, Lists],
    *,
    num_clients: int = 8,
    rate: float | None = None,
) -> Iterator[Seen]:
    """Ask for users' lists, without exploration, for as long as the block takes.

    Args:
        lists: by release, what each user is to get. All of the same length.
        rate: requests a second of all clients together, if they keep up; None: without a pause.
    """
    seen, is_over, lock = Seen(), threading.Event(), threading.Lock()
    user_ids = sorted(next(iter(lists.values())))
    length = len(next(iter(lists.values()))[user_ids[0]])

    def ask(number: int) -> None:
        met: list[str] = []
        pause_s = 0.0 if rate is None else num_clients / rate
        due = time.monotonic() + pause_s * number / num_clients
        with contextlib.closing(ApiClient(url)) as client:
            for user_id in itertools.cycle(user_ids[number:] + user_ids[:number]):
                if is_over.is_set():
                    break
                if rate is None:
                    due = time.monotonic()
                elif (left_s := due - time.monotonic()) > 0:
                    time.sleep(left_s)
                release, problem = _asked(client, user_id, length, lists)
                now = time.monotonic()
                if release and met[-1:] != [release]:
                    met.append(release)
                with lock:
                    seen.answers.append((now, 1_000 * (now - due)))
                    seen.wrong += problem
                due += pause_s
        with lock:
            seen.releases.add(tuple(met))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(num_clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _asked(
    client: ApiClient, user_id: str, length: int, lists: Mapping[str, Lists]
) -> tuple[str | None, list[str]]:
    """Return the release that an answer names, and what is wrong with it."""
    try:
        reply = client.recommend(user_id, num_results=length, exploration_weight=0)
    except ServingError as error:
        return None, [str(error)]
    release = reply.headers["x-raysys-release"]
    found = [item["itemId"] for item in reply.body["itemList"]]
    if "x-raysys-degraded" in reply.headers or found != lists[release][user_id]:
        return release, [f"{user_id} got {found} from {release}: {reply.headers}"]
    return release, []
