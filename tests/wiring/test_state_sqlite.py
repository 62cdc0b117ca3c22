"""SQLite under several processes: what is acknowledged stays, what is committed is seen."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from raysys.state.events import Event
from raysys.state.store import StateStore
from tests.unit.state.builders import item_ids_of, times_of

WRITER = """
import asyncio, sys
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.store import StateStore

async def put_for_ever(committer, lane):
    number = 0
    while True:
        await committer.submit([Event("ann", "s", f"{lane}-{number}", "click", number)])
        print(f"{lane}-{number}", flush=True)
        number += 1

async def main(url):
    committer = GroupCommitter(StateStore(url, "films", max_interactions_per_user=100_000))
    await asyncio.gather(*(put_for_ever(committer, lane) for lane in range(8)))

asyncio.run(main(sys.argv[1]))
"""

PUT_MANY = """
import sys
from raysys.state.events import Event
from raysys.state.store import StateStore

store = StateStore(sys.argv[1], "films")
print("open", flush=True)
sys.stdin.readline()
for number in range(50):
    store.put_events([Event("ann", "s", f"{sys.argv[2]}-{number}", "click", number)])
    store.put_events([Event("ann", "s", f"both-{number}", "click", number, f"both-{number}")])
store.close()
"""


def url_in(directory: Path) -> str:
    return f"sqlite:///{directory / 'state.db'}"


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = []
    with start(WRITER, url_in(tmp_path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 300:
                os.kill(process.pid, signal.SIGKILL)
                break
        # What was written to the pipe before the kill was acknowledged too; a torn line was not.
        rest = process.stdout.read().splitlines(keepends=True)
        acknowledged += [line.strip() for line in rest if line.endswith("\n")]
        assert process.wait(20) == -signal.SIGKILL
    store = StateStore(url_in(tmp_path), "films")
    stored = item_ids_of(store.user_states(["ann"])["ann"])
    store.close()
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= set(stored)
    assert len(set(stored)) == len(stored)


def test_a_commit_in_one_process_is_seen_by_the_next_read_in_another(tmp_path: Path) -> None:
    echo = """
import sys
from raysys.state.store import StateStore
store = StateStore(sys.argv[1], "films")
for line in sys.stdin:
    state = store.user_states(["ann"]).get("ann")
    print(state.version if state else 0, flush=True)
store.close()
"""
    store = StateStore(url_in(tmp_path), "films")
    with start(echo, url_in(tmp_path)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for version in range(1, 30):
            store.put_events([Event("ann", "s", f"item-{version}", "click", version)])
            process.stdin.write("read\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{version}\n"
        process.stdin.close()
        assert process.wait(20) == 0
    store.close()


def test_processes_that_write_at_once_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    writers = [start(PUT_MANY, url_in(tmp_path), str(number)) for number in range(3)]
    for writer in writers:  # they create the database at once, too
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
    for writer in writers:
        assert writer.communicate("go\n", timeout=60) == ("", None)
        assert writer.returncode == 0
    store = StateStore(url_in(tmp_path), "films")
    state = store.user_states(["ann"])["ann"]
    store.close()
    # 3 x 50 of their own and 50 that all three tried to store, one version for each.
    names = ["0", "1", "2", "both"]
    assert sorted(item_ids_of(state)) == sorted(f"{name}-{n}" for name in names for n in range(50))
    assert state.version == 200
    assert times_of(state) == sorted(times_of(state))
