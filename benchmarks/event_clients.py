"""Clients that send each event until it is acknowledged, through whatever is killed meanwhile."""

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from raysys.commands.api_client import ApiClient
from raysys.errors import ServingError
from raysys.state.store import StateStore

NUM_CLIENTS, NUM_ITEMS = 8, 300
PATIENCE_S = 90.0
"""How long a client goes on with one call before it says that raysys does not come back."""


class Clients:
    """Threads that send events, each call until it is acknowledged.

    Args:
        name: begins the ids of users and events; of no other clients.
    """

    def __init__(self, url: str, name: str, seed: int) -> None:
        self.acknowledged: list[str] = []
        self.num_retries = 0
        self.failures: list[str] = []
        self._url = url
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(f"{name}-{number}", seed + number))
            for number in range(NUM_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when the last call of each is acknowledged."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, user: str, seed: int) -> None:
        chance, number = random.Random(seed), 0
        while not self._is_over.is_set():
            events = []
            for _ in range(chance.randint(1, 10)):
                number += 1
                item = f"item-{chance.randrange(NUM_ITEMS)}"
                event = {"eventId": f"{user}-{number}", "eventType": "click", "itemId": item}
                events.append({**event, "sentAt": 1_700_000_000 + number})
            if not self._send_until_acknowledged(user, events):
                self.failures.append(f"{user} was not answered with 200 for {PATIENCE_S:g} s")
                return
            self.acknowledged += [str(event["eventId"]) for event in events]

    def _send_until_acknowledged(self, user: str, events: list[dict[str, Any]]) -> bool:
        give_up_at_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at_s:
            with contextlib.closing(ApiClient(self._url, timeout_s=20)) as client:
                try:
                    client.put_events("default", user, events)
                    return True
                except ServingError:
                    self.num_retries += 1
            time.sleep(0.05)
        return False


def run_through(
    clients: Clients, database: str, kill: Callable[[], object], chance: random.Random
) -> dict[str, Any]:
    """Kill while clients send, let them end, and return what of their events went wrong."""
    time.sleep(chance.uniform(0.3, 1.5))
    kill()
    time.sleep(1.5)
    clients.stop()
    with contextlib.closing(StateStore(database, "default", must_exist=True)) as store:
        log = store.log.events(store.log.end())
        stored = Counter(each.event.event_id for block in log for each in block)
        users = {name.rpartition("-")[0] for name in clients.acknowledged}
        states = store.user_states(users)
    of_users = Counter(name.rpartition("-")[0] for name in stored.elements() if name)
    return {
        "acknowledged": len(clients.acknowledged),
        "retries": clients.num_retries,
        "lost": sum(not stored[name] for name in clients.acknowledged),
        "twice": sum(count > 1 for count in stored.values()),
        "wrong_states": sum(len(states[each].interactions) != of_users[each] for each in users),
        "failures": clients.failures,
    }


def is_clean(outcome: dict[str, Any]) -> bool:
    """Return whether clients were answered and what they were told is true."""
    wrong = ("lost", "twice", "wrong_states", "failures")
    return outcome["acknowledged"] > 0 and not any(outcome[name] for name in wrong)


def kill_process(root: psutil.Process, word: str) -> None:
    """Kill one of the processes below `root` that have a word in their command line."""
    found = [each for each in root.children(recursive=True) if word in _command(each)]
    found[-1].kill()


def kill_postgresql(server: Any, away_s: float) -> None:
    """Kill the server of `private_postgresql`, and start it again after some seconds."""
    main = psutil.Process(server.get_pid())
    processes = [main, *main.children()]
    main.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=20)
    time.sleep(away_s)
    for _ in range(20):  # those that it left behind hold its memory for a moment
        with contextlib.suppress(subprocess.SubprocessError):
            server.ensure_postgres_running()
            return
        time.sleep(0.5)
    raise RuntimeError("PostgreSQL does not start again.")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended
        return ""
