"""What `make bench-events` measures against: one process that makes the same inserts, and no more.

    python benchmarks/plain_inserts.py URL SECONDS FIRST

Ten events of one user and that user's state a transaction, by the database's driver alone, on the
tables, indexes and settings of the product. It knows every state by heart and so reads nothing.
Numbers of events begin at FIRST. Writes one JSON line.
"""

import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from raysys.state.store import StateStore
from raysys.state.user_state import NO_STATE, Interaction, UserState

PER_CALL, NUM_USERS, NUM_ITEMS = 10, 10_000, 1_682
FIRST_EVENT_US = 1_700_000_000_000_000

_EVENT = """INSERT INTO events (dataset_group, identity, user_id, session_id, item_id, event_type,
    occurred_at_us, received_at_us, event_id, is_click) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
_STATE = """INSERT INTO user_states (dataset_group, user_id, version, packed) VALUES (?, ?, ?, ?)
    ON CONFLICT (dataset_group, user_id)
    DO UPDATE SET version = excluded.version, packed = excluded.packed"""

Commit = Callable[[list[Any], tuple[Any, ...]], None]


@contextmanager
def committing(url: str) -> Iterator[Commit]:
    """Give what stores the rows of events and that of a state in one transaction."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")

            def to_file(events: list[Any], state: tuple[Any, ...]) -> None:
                file.execute("BEGIN IMMEDIATE")
                file.executemany(_EVENT, events)
                file.execute(_STATE, state)
                file.execute("COMMIT")

            yield to_file
        return
    with psycopg.connect(url) as server:
        event, state_of_user = _EVENT.replace("?", "%s"), _STATE.replace("?", "%s")

        def to_server(events: list[Any], state: tuple[Any, ...]) -> None:
            with server.transaction(), server.pipeline(), server.cursor() as cursor:
                cursor.executemany(event, events)
                cursor.execute(state_of_user, state)

        yield to_server


def main(url: str, seconds: float, first: int) -> None:
    """Insert for some seconds, and say how many events that were."""
    StateStore(url, "default").close()  # makes the tables
    chance, states, number = random.Random(first), dict[str, UserState](), first
    with committing(url) as commit:
        began, cpu_began_s = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            user = f"user-{chance.randrange(NUM_USERS)}"
            new, rows = [], []
            for _ in range(PER_CALL):
                number += 1
                item, name = f"item-{chance.randrange(NUM_ITEMS)}", f"plain-{number}"
                at_us = FIRST_EVENT_US + number * 1_000
                new.append(Interaction(item, at_us, "click"))
                rows.append(
                    ("default", f"id:{name}", user, f"session-{user}", item, "click")
                    + (at_us, time.time_ns() // 1000, name, True)
                )
            states[user] = states.get(user, NO_STATE).extended(new, 2000)
            commit(rows, ("default", user, states[user].version, states[user].pack()))
        elapsed_s = time.perf_counter() - began
        cpu_s = time.process_time() - cpu_began_s
    num_events = number - first
    told = {"events": num_events, "per_s": num_events / elapsed_s, "cpu_us": 1e6 * cpu_s}
    told["cpu_us"] /= num_events
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
