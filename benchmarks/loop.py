"""What exploring is worth: simulated worlds lived for 14 days with exploration and without.

    make bench-loop
    make bench-loop ARGS="--worlds new-like-old --seeds 1 --days 5"

A world's log is imported and a small model trained. Then people come for some days, are shown
lists of ten by the engine of a gateway (`live_shop`) and click; what they do is stored, and read by
the very next list. Every day new items are put. Every night what came is exported, imported and
learnt by an update, whose release answers from then on; impressions and clicks reach the shards six
times a day. Only the exploration weight differs between two lives of one world: its people, their
times and their coins are the same (`raysys.logs.simulator.live`).

The difference is that of the clicks of all days, in shares of those without exploration, with its
95 % interval over the worlds (Student's t over their seeds). The last line is JSON. `--plot FILE`
draws the days.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from live_shop import LiveShop

from raysys.config import (
    FeedbackConfig,
    GruConfig,
    PipelineConfig,
    ServingConfig,
    TrainingConfig,
)
from raysys.config.feedback import EventType
from raysys.logs.simulator.live import Shown, live
from raysys.logs.simulator.simulator import Simulator
from raysys.logs.simulator.visits import Visits
from raysys.serving.messages import Query
from raysys.state.events import Event
from raysys.state.items import Item

LIST_LENGTH = 10
CATCH_UPS_PER_DAY = 6
ENOUGH_IMPRESSIONS = 10
SHARE_BAR, LOSS_BAR = 0.6, -0.03
WORLDS = ("new-like-old", "new-mostly-poor")
CONFIG = PipelineConfig(
    feedback=FeedbackConfig(event_types=(EventType(event_type="click"),)),
    model=GruConfig(hidden_dimension=32),
    training=TrainingConfig(max_epochs=8),
)


Settings = dict[str, float]
"""Of exploration, as `ServingConfig` names them."""


@dataclass(frozen=True)
class Life:
    """What one policy made of one world."""

    world: str
    seed: int
    weight: float
    clicks: list[int]
    """By day."""
    expected_clicks: list[float]
    """By day: without the luck of the day."""
    share_shown: float
    """Of the new items, those that were shown at least ten times by the end."""
    seconds: float


class Learner:
    """A live shop that learns every night; a `raysys.logs.simulator.live.Policy`."""

    def __init__(
        self, simulator: Simulator, directory: Path, settings: Settings, *, update_epochs: int
    ) -> None:
        from nightly import Nights  # torch, in the process that learns

        self._nights = Nights(simulator, directory, CONFIG, epochs=update_epochs)
        self._shop = LiveShop(directory, settings)
        self._shop.open(self._nights.release)
        self._answers: dict[int, str] = {}
        world = simulator.world
        self._visits_between = world.num_users * world.visits_per_day / CATCH_UPS_PER_DAY
        self._visits_since = 0

    def begin_day(self, day: int, new_items: pa.Table) -> None:
        if day:
            self._shop.catch_up()
            self._shop.open(self._nights.learnt(self._shop.store))
        self._shop.put_items([_item_of(row) for row in new_items.to_pylist()])

    def recommend(self, visits: Visits) -> Sequence[Sequence[str]]:
        seeds = visits.visit_nums.tolist()
        answers = self._shop.ask(
            [
                Query(user_id, None, LIST_LENGTH, seed=seed)
                for user_id, seed in zip(visits.user_ids, seeds, strict=True)
            ]
        )
        self._answers = {row: answer.recommendation_id for row, answer in enumerate(answers)}
        return [answer.item_ids for answer in answers]

    def observe(self, shown: Shown) -> None:
        first = int(shown.visits.visit_nums[0])
        events = [
            Event(
                user_id=row["USER_ID"],
                session_id=row["RECOMMENDATION_ID"],
                item_id=row["ITEM_ID"],
                event_type=row["EVENT_TYPE"],
                occurred_at_us=row["TIMESTAMP"] * 1_000_000,
                event_value=row["EVENT_VALUE"],
                recommendation_id=self._answers[
                    int(row["RECOMMENDATION_ID"].removeprefix(f"v{first}-"))
                ],
            )
            for row in shown.events.to_pylist()
        ]
        if events:
            self._shop.put_events(events)
        self._visits_since += len(shown.visits)
        if self._visits_since >= self._visits_between:
            self._shop.catch_up()
            self._visits_since = 0

    def close(self) -> None:
        self._shop.close()


def lived(world: str, seed: int, settings: Settings, days: int, update_epochs: int) -> Life:
    """Let one policy live the days of one world."""
    started, weight = time.perf_counter(), settings["exploration_weight"]
    simulator = Simulator(world, seed=seed)
    with tempfile.TemporaryDirectory(prefix="raysys-loop-") as directory:
        learner = Learner(simulator, Path(directory), settings, update_epochs=update_epochs)
        lived_days = []
        for day in live(simulator, learner, days):
            lived_days.append(day)
            print(
                f"{world} {seed}, weight {weight}: day {day.day}, {day.num_clicks} clicks",
                file=sys.stderr,
                flush=True,
            )
        learner.close()
    shown = list(lived_days[-1].new_item_impressions.values())
    enough = sum(times >= ENOUGH_IMPRESSIONS for times in shown)
    return Life(
        world,
        seed,
        weight,
        [day.num_clicks for day in lived_days],
        [round(day.expected_clicks, 2) for day in lived_days],
        round(enough / max(1, len(shown)), 4),
        round(time.perf_counter() - started, 1),
    )


def _item_of(row: dict[str, Any]) -> Item:
    known = {name: row[name] for name in ("TITLE", "GENRES", "STUDIO") if row[name] is not None}
    return Item(row["ITEM_ID"], json.dumps(known))


def compared(lives: Sequence[Life], world: str, weight: float) -> dict[str, Any]:
    """Say what exploring was worth in the worlds of one kind."""
    by_seed = {(life.seed, life.weight): life for life in lives if life.world == world}
    seeds = sorted({seed for seed, _ in by_seed})
    gains = {
        name: [
            _total(by_seed[seed, weight], name) / _total(by_seed[seed, 0.0], name) - 1
            for seed in seeds
        ]
        for name in ("clicks", "expected_clicks")
    }
    exploring = [by_seed[seed, weight] for seed in seeds]
    return {
        "seeds": seeds,
        "gain": {name: _estimated(values) for name, values in gains.items()},
        "gains": {name: [round(each, 4) for each in values] for name, values in gains.items()},
        "share_of_new_items_shown": round(
            statistics.mean(life.share_shown for life in exploring), 4
        ),
        "share_without_exploring": round(
            statistics.mean(by_seed[seed, 0.0].share_shown for seed in seeds), 4
        ),
    }


def _total(life: Life, name: str) -> float:
    return float(sum(getattr(life, name)))


def _estimated(values: Sequence[float]) -> dict[str, float | list[float] | None]:
    """Return the mean and Student's 95 % interval; None for a single value."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return {"mean": round(mean, 4), "interval_95": None}
    from scipy.stats import t

    width = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": round(mean, 4), "interval_95": [round(mean - width, 4), round(mean + width, 4)]}


def draw(lives: Sequence[Life], weight: float, path: Path) -> None:
    """Draw the clicks of each day, with exploration and without: worlds thin, their mean bold."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "raysys"  # the same lives, the same file
    from matplotlib import pyplot

    worlds = list(dict.fromkeys(life.world for life in lives))
    figure, axes = pyplot.subplots(
        1, len(worlds), figsize=(4.6 * len(worlds), 3.2), squeeze=False, sharey=True
    )
    for axis, world in zip(axes[0], worlds, strict=True):
        for chosen, color, label in (
            (weight, "#1f6fb4", f"exploration {weight}"),
            (0.0, "#8a8a8a", "no exploration"),
        ):
            runs = np.array(
                [life.clicks for life in lives if (life.world, life.weight) == (world, chosen)]
            )
            days = np.arange(1, runs.shape[1] + 1)
            axis.plot(days, runs.T, color=color, alpha=0.2, linewidth=0.8)
            axis.plot(days, runs.mean(axis=0), color=color, linewidth=2.2, label=label)
        axis.set_title(world.replace("-", " "), fontsize=10)
        axis.set_xlabel("day")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("clicks of the day")
    axes[0][-1].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    """Return 0 when the worlds that were lived meet their bars."""
    arguments = _arguments()
    times = arguments.days, arguments.update_epochs
    settings = {
        f"exploration_{name}": getattr(arguments, name)
        for name in ("temperature", "evidence", "bonus")
    }
    asked = [
        (world, seed, settings | {"exploration_weight": weight}, *times)
        for world in arguments.worlds
        for seed in range(arguments.seeds)
        for weight in (0.0, arguments.weight)
    ]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        lives = list(pool.map(lived, *zip(*asked, strict=True)))
    for life in lives:
        print(json.dumps(asdict(life)), flush=True)
    found = {world: compared(lives, world, arguments.weight) for world in arguments.worlds}
    if arguments.plot is not None:
        draw(lives, arguments.weight, arguments.plot)
    passed = all(_passes(world, told) for world, told in found.items())
    load = [round(each, 2) for each in os.getloadavg()]
    settings |= {"days": arguments.days, "exploration_weight": arguments.weight}
    print(json.dumps({"benchmark": "loop", **settings, **found, "load": load, "passed": passed}))
    return 0 if passed else 1


def _passes(world: str, told: dict[str, Any]) -> bool:
    gain = told["gain"]["clicks"]
    if world == "new-mostly-poor":
        return bool(gain["mean"] >= LOSS_BAR)
    is_sure = gain["interval_95"] is not None and gain["interval_95"][0] > 0
    return bool(is_sure and told["share_of_new_items_shown"] >= SHARE_BAR)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--worlds", type=lambda text: text.split(","), default=list(WORLDS), help="%(default)s"
    )
    parser.add_argument("--seeds", type=int, default=5, help="worlds of each kind (%(default)s)")
    parser.add_argument("--days", type=int, default=14, help="default: %(default)s")
    parser.add_argument("--weight", type=float, default=0.3, help="default: %(default)s")
    for name in ("temperature", "evidence", "bonus"):
        default = ServingConfig.model_fields[f"exploration_{name}"].default
        parser.add_argument(f"--{name}", type=float, default=default, help="default: %(default)s")
    parser.add_argument("--update-epochs", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, help="lives at once (%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the days, as PNG or SVG")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
