"""Campaigns learn by themselves under steady load: what that adds to the answers' latency.

A release of a simulated log is served by a gateway, a query encoder and two shards. Clients ask for
lists at a fixed rate and compare each with what brute force ranks by the release that it names.
Meanwhile half of the users act, and a round of learning takes that over, learns it and switches the
campaign to it; nobody acts of whom lists are asked. Run with `make bench-learn`; the last line is
JSON, and the command fails if an answer was wrong or the p99 of a typical round misses its bar.

    p50, p99    of the answers while rounds ran, against the same time before each; latency counts
                from when a request was due
    phases      the same of each step of a round, and how many of its answers took longer than the
                p99 before; `starting` is Ray's job and Python, before the round says that it began
"""

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from steady_load import Lists, Seen, steady_load
from update import Trained

from raysys.commands.building import build_release
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer
from raysys.commands.material import Material
from raysys.commands.released_model import ReleasedModel
from raysys.commands.rollout import roll_out
from raysys.config import CampaignsConfig, LearningConfig, PipelineConfig, ServingConfig
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.simulator import Simulator
from raysys.release import Release, open_release
from raysys.serving.cluster import free_port
from raysys.state.events import Event
from raysys.state.learning_rounds import Round
from raysys.state.store import StateStore

LENGTH = 10
P99_BAR = 1.5
CONFIG = PipelineConfig.model_validate(
    {
        "model": {"kind": "gru", "hidden_dimension": 64, "bptt": 16},
        "training": {"max_epochs": 1},
        "index": {"num_partitions": 2},
    }
)


class Ranked(dict[str, Lists]):
    """The lists of those who do not act, by release.

    An answer from a release that was just made is kept and compared when there is time for it: to
    rank takes the processor from those who ask.
    """

    def __init__(self, releases: Path) -> None:
        self._releases = releases
        self._unchecked: list[tuple[str, str, list[str]]] = []

    def __missing__(self, release: str) -> "_Later":
        return _Later(lambda user_id, found: self._unchecked.append((release, user_id, found)))

    def rank(self, release: str) -> list[str]:
        """Rank by a release; return what is wrong with the answers that it has given so far."""
        model = ReleasedModel(open_release(self._releases / release))
        lists = model.ranked(model.histories, LENGTH, max_seen_items=2_000)
        by_user = dict(zip(model.histories.user_ids.to_pylist(), lists, strict=True))
        self[release] = {user: each for user, each in by_user.items() if not _acts(user)}
        wrong = [
            f"{user_id} got {found} from {release}"
            for name, user_id, found in self._unchecked
            if name == release and self[release][user_id] != found
        ]
        self._unchecked = [each for each in self._unchecked if each[0] != release]
        return wrong


class _Later(dict[str, Any]):
    """Lists that equal any, and tell with what they were compared."""

    def __init__(self, tell: Callable[[str, list[str]], None]) -> None:
        self._tell = tell

    def __missing__(self, user_id: str) -> "_Unknown":
        return _Unknown(user_id, self._tell)


class _Unknown:
    def __init__(self, user_id: str, tell: Callable[[str, list[str]], None]) -> None:
        self._user_id, self._tell = user_id, tell

    def __ne__(self, found: object) -> bool:
        assert isinstance(found, list)
        self._tell(self._user_id, found)
        return False


def _acts(user_id: str) -> bool:
    return sum(user_id.encode()) % 2 == 0


def main() -> None:
    """Serve, learn a few times, and end with one JSON line; exit 1 if a bar was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--interactions", type=int, default=100_000, help="of the log")
    parser.add_argument("--events", type=int, default=5_000, help="before each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--connections", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
        result = _measured(arguments, Path(directory))
    is_passed = not result["num_wrong"] and result["p99_ratio"] <= P99_BAR
    print(json.dumps({"benchmark": "learning", **result, "passed": is_passed}), flush=True)
    sys.exit(not is_passed)


def _first_release(arguments: argparse.Namespace, directory: Path) -> Release:
    files = Simulator.of_about(arguments.interactions, seed=1).write(directory / "log")
    import_log([files.interactions], directory / "dataset", items=files.items, run=run_here)
    with contextlib.redirect_stdout(sys.stderr):
        release, _ = build_release(
            Material.of(directory / "dataset", CONFIG),
            directory / "releases",
            CONFIG,
            recipe="custom",
            write_model=Trained().here(CONFIG),
            console=Console(as_json=True),
        )
    return release


def _measured(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    release = _first_release(arguments, directory)
    config = ServingConfig(database=f"sqlite:///{directory}/state.db", num_shards=2)
    campaigns = CampaignsConfig.of_release(str(release.path))
    lists = Ranked(directory / "releases")
    lists.rank(release.name)
    items = ReleasedModel(release).items.ids.to_pylist()
    port = free_port()
    console = Console(as_json=True)
    rows: list[dict[str, Any]] = []
    with ray_cluster(console, serving_port=port) as cluster:
        deployer = Deployer(cluster, host="127.0.0.1", port=port)
        roll_out(deployer, config, campaigns)
        store = StateStore(config.database, config.dataset_group)
        clients = {"num_clients": arguments.connections, "rate": arguments.rate}
        with (
            contextlib.closing(store),
            steady_load(deployer.url, lists, **clients) as seen,
        ):
            # It begins a round whenever the one before is over; none while nothing is new.
            learning = LearningConfig(
                dataset=str(directory / "dataset"),
                releases=str(directory / "releases"),
                every_minutes=0.05,
                full_every_days=None,
                gate=None,
            )
            time.sleep(20)  # warm
            learns = campaigns.model_copy(update={"learning": learning})
            roll_out(deployer, config, learns)
            for number in range(arguments.rounds):
                rows.append(_round(store, config, seen, arguments.events, number, items, lists))
    return _told(rows, seen, arguments)


def _round(
    store: StateStore,
    config: ServingConfig,
    seen: Seen,
    num_events: int,
    number: int,
    items: Sequence[str],
    lists: Ranked,
) -> dict[str, Any]:
    """Let people act, wait until it is learnt and served, and return what it cost."""
    table = store.learning(config.application)
    quiet_from = time.monotonic()
    time.sleep(30)
    draw = random.Random(number)
    now_us = round(time.time() * 1e6)
    users = [f"u{each}" for each in range(1, 100_000) if _acts(f"u{each}")][:500]
    events = [
        Event(user, "s", draw.choice(items), "watch", now_us + place)
        for place, user in enumerate(draw.choices(users, k=num_events))
    ]
    for first in range(0, num_events, 500):
        store.put_events(events[first : first + 500])
    began = time.monotonic()
    found, steps = _ended(table, since=now_us)
    ended = time.monotonic()
    took_s = (found.ended_at_us or 0) / 1e6 - found.began_at_us / 1e6
    if found.status != "deployed":
        raise RuntimeError(f"the round ended as {found.status}: {found.reason}")
    time.sleep(2)  # gateways look every half second
    seen.wrong += lists.rank(found.published)
    cost = _latencies(seen, quiet_from, began - 1, max(began, ended - took_s), ended)
    return cost | {
        "phases": _phases(seen, steps, ended, cost["p99_ms_before"]),
        "round_s": round(took_s, 1),
        "load": round(os.getloadavg()[0], 2),
    }


Steps = list[tuple[str, float]]
"""What a round does, and from when on."""


def _ended(table: Any, *, since: int, timeout_s: float = 600.0) -> tuple[Round, Steps]:
    """Wait for the round that began after a moment to be over; return it and its steps."""
    steps: Steps = [("starting", time.monotonic())]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for each in table.now(20).rounds:
            if each.began_at_us > since and each.status != "nothing":
                if each.step and each.step != steps[-1][0]:
                    steps.append((each.step, time.monotonic()))
                if each.status != "running":
                    return each, steps
        time.sleep(0.1)
    raise TimeoutError(f"no round ended within {timeout_s:.0f} s")


def _latencies(
    seen: Seen, quiet_from: float, quiet_to: float, began: float, ended: float
) -> dict[str, Any]:
    answers = np.array(seen.answers)
    found: dict[str, Any] = {}
    for name, start, end in (("before", quiet_from, quiet_to), ("during", began, ended)):
        chosen = answers[(answers[:, 0] >= start) & (answers[:, 0] < end), 1]
        p50, p99 = np.percentile(chosen, [50, 99])
        found |= {
            f"answers_{name}": len(chosen),
            f"p50_ms_{name}": round(float(p50), 1),
            f"p99_ms_{name}": round(float(p99), 1),
        }
    found["p99_ratio"] = round(found["p99_ms_during"] / found["p99_ms_before"], 2)
    found["p50_ratio"] = round(found["p50_ms_during"] / found["p50_ms_before"], 2)
    return found


def _phases(seen: Seen, steps: Steps, ended: float, p99_ms: float) -> list[dict[str, Any]]:
    answers = np.array(seen.answers)
    ends = [start for _, start in steps[1:]] + [ended]
    found = []
    for (name, start), end in zip(steps, ends, strict=True):
        chosen = answers[(answers[:, 0] >= start) & (answers[:, 0] < end), 1]
        if len(chosen):
            p50, p99 = np.percentile(chosen, [50, 99])
            found.append(
                {
                    "phase": name,
                    "s": round(end - start, 1),
                    "p50_ms": round(float(p50), 1),
                    "p99_ms": round(float(p99), 1),
                    "max_ms": round(float(chosen.max()), 1),
                    "slow": int(np.count_nonzero(chosen > p99_ms)),
                }
            )
    return found


def _told(rows: list[dict[str, Any]], seen: Seen, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "rounds": rows,
        "p50_ratio": float(np.median([row["p50_ratio"] for row in rows])),
        "p99_ratio": float(np.median([row["p99_ratio"] for row in rows])),
        "p99_bar": P99_BAR,
        "num_answers": len(seen.answers),
        "num_wrong": len(seen.wrong),
        "wrong": seen.wrong[:3],
        "order": sorted({" -> ".join(met) for met in seen.releases}),
        "rate": arguments.rate,
        "interactions": arguments.interactions,
        "cpus": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
