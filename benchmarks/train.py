"""How fast models learn: `make bench-train`; ends with one JSON line. `--lines` chooses.

- tfrs: CPU seconds until the two towers of `bench-tfrs` reach top-100 0.240, the quality of TFRS's
  basic retrieval tutorial, which took 9.5 there. Mean of five seeds.
- transformer: CPU seconds until validation NDCG@10 0.1005, where RecTools' SASRec ended after 320.
- gru: CPU seconds until validation NDCG@10 0.133, where a plain GRU ended after 433.
- ray: examples/s through Ray Train and Ray Data, against the same loop on arrays in memory in a
  plain process, before and after it.
- workers: examples/s of two workers of one thread against one, with the same batch over all of
  them. It needs two idle cores. The bar is for batches of 128 users; those of the recipe, 32, leave
  each of two workers too little to do between two sums.
- sizes: CPU seconds per example of one epoch on simulated logs of growing size.

CPU seconds are of training alone, one thread, without imports and validation; what others took was
measured on two cores of another machine, so a calibration loop is timed beside them. Quality is
looked at after each epoch. MovieLens-100K, leave-last-out, the recipes' defaults.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tfrs_retrieval
import torch
from movielens_100k import Log, item_features, read_log, title_with_year
from movielens_on_ray import movielens_on_ray
from plain_training import calibration, train_here, with_training

from raysys.config import LeaveLastOut, PipelineConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.splits import split
from raysys.dataset.spool import Spool
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.simulator import Simulator
from raysys.recipes import RECIPES, USER_PERSONALIZATION
from raysys.training.trainer import train_on_ray

METRIC = "ndcg_at_10"
TFRS_CPU_S, TFRS_TOP_100 = 9.5, 0.240
FLAT = 1.25
WIDE_BATCH = 128
Arguments = argparse.Namespace


def tfrs(arguments: Arguments) -> dict[str, Any]:
    log = read_log(arguments.cache, item_of=title_with_year)
    train, test = tfrs_retrieval.drawn_apart(log.histories)
    runs = []
    for seed in arguments.seeds or tfrs_retrieval.SEEDS:
        config = with_training(tfrs_retrieval.config(seed), max_epochs=10)
        top_100: list[float] = []

        def is_enough(result: Any, model: Any, found: list[float] = top_100) -> bool:
            found.append(tfrs_retrieval.top_k_accuracies(model, log, test)["top_100"])
            return found[-1] >= TFRS_TOP_100

        runs.append((train_here(config, log, train, is_enough=is_enough).cpu_s, top_100[-1]))
    cpu_s = statistics.mean(each for each, _ in runs)
    return _until(cpu_s, TFRS_CPU_S, 0.4, all(found >= TFRS_TOP_100 for _, found in runs)) | {
        "top_100": [round(found, 4) for _, found in runs]
    }


def transformer(arguments: Arguments) -> dict[str, Any]:
    return _until_validation("transformer", 0.1005, 320, 0.33, arguments)


def gru(arguments: Arguments) -> dict[str, Any]:
    return _until_validation(USER_PERSONALIZATION.name, 0.133, 433, 0.5, arguments)


def _until_validation(
    recipe: str, value: float, others_s: float, bar: float, arguments: Arguments
) -> dict[str, Any]:
    if recipe not in RECIPES:
        return {"skipped": f"there is no recipe {recipe}"}
    log = read_log(arguments.cache)
    parts = split(log.histories, LeaveLastOut())
    runs = []
    for seed in arguments.seeds or [1]:
        trained = train_here(
            with_training(RECIPES[recipe].configure({}), seed=seed, max_epochs=arguments.epochs),
            log,
            parts.train,
            features=item_features(arguments.cache, log.items),
            validation=parts.validation,
            is_enough=lambda result, model: result.metrics[METRIC] >= value,
        )
        runs.append((trained.cpu_s, trained.best(METRIC).metrics[METRIC], trained.num_epochs))
    reached = all(best >= value for _, best, _ in runs)
    line = _until(statistics.mean(cpu_s for cpu_s, _, _ in runs), others_s, bar, reached)
    return line | {"best": [round(best, 4) for _, best, _ in runs], "epochs": [n for *_, n in runs]}


def _until(cpu_s: float, others_s: float, bar: float, reached: bool) -> dict[str, Any]:
    ratio = cpu_s / others_s
    return {
        "cpu_s": round(cpu_s, 2),
        "ratio": round(ratio, 4) if reached else None,
        "bar": bar,
        "reached": reached,
        "passed": reached and ratio <= bar,
    }


def through_ray(arguments: Arguments) -> dict[str, Any]:
    """Train on Ray between two trainings in this process."""
    config = _epochs_only(arguments)
    log = read_log(arguments.cache)
    parts = split(log.histories, LeaveLastOut())

    def plainly() -> float:
        return _per_s(train_here(config, log, parts.train).results)

    before = plainly()
    on_ray = _on_ray(config, arguments, num_workers=[1])[0]
    after = plainly()
    ratio = 2 * on_ray / (before + after)
    return {
        "ray_per_s": round(on_ray),
        "plain_per_s": [round(before), round(after)],
        "ratio": round(ratio, 4),
        "bar": 0.85,
        "passed": ratio >= 0.85,
    }


def workers(arguments: Arguments) -> dict[str, Any]:
    """Train with two workers and with one, on the recipe's batch and on one for more workers."""
    found: dict[str, Any] = {"bar": 1.3}
    for batch_size in (None, WIDE_BATCH):
        config = with_training(_epochs_only(arguments), batch_size=batch_size)
        two, one = _on_ray(config, arguments, num_workers=[2, 1])
        found[f"batch_{config.training.batch_size}"] = {
            "two_per_s": round(two),
            "one_per_s": round(one),
            "ratio": round(two / one, 4),
        }
    return found | {"passed": found[f"batch_{WIDE_BATCH}"]["ratio"] >= found["bar"]}


def _epochs_only(arguments: Arguments) -> PipelineConfig:
    return with_training(
        USER_PERSONALIZATION.configure({"max_user_history_length_percentile": 1.0}),
        max_epochs=arguments.epochs or 4,
    )


def _on_ray(config: PipelineConfig, arguments: Arguments, *, num_workers: list[int]) -> list[float]:
    """Train on Ray once per number of workers."""
    with movielens_on_ray(arguments.cache) as dataset:
        opened = open_dataset(dataset)
        return [
            _per_s(
                train_on_ray(
                    dataset,
                    opened.vocabulary_path("items"),
                    opened.vocabulary_path("users"),
                    with_training(config, num_workers=number),
                    directory=dataset.with_name(f"model-{number}"),
                    storage=dataset.with_name(f"run-{number}"),
                ).results
            )
            for number in num_workers
        ]


def _per_s(results: list[Any]) -> float:
    """Return the examples per second of the epoch in the middle, the first one left out."""
    return float(statistics.median(result.examples_per_s for result in results[1:] or results))


def sizes(arguments: Arguments) -> dict[str, Any]:
    cost: dict[str, float] = {}
    config = with_training(RECIPES[arguments.size_recipe].configure({}), max_epochs=1)
    with tempfile.TemporaryDirectory() as work:  # the first steps of a process load libraries
        log = _simulated(10_000, Path(work))
        train_here(config, log, log.histories)
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as work:
            log = _simulated(size, Path(work))
            trained = train_here(config, log, log.histories)
            num_examples = log.histories.num_interactions
        cost[f"{num_examples}"] = round(1e6 * trained.cpu_s / num_examples, 4)
        print(f"{num_examples:,} interactions: {cost[f'{num_examples}']} us each", flush=True)
    ratio = max(cost.values()) / min(cost.values())
    return {
        "recipe": arguments.size_recipe,
        "us_per_interaction": cost,
        "ratio": round(ratio, 4),
        "bar": FLAT,
        "passed": ratio <= FLAT,
    }


def _simulated(size: int, work: Path) -> Log:
    """Return a simulated log of about so many interactions, mapped from files."""
    simulator = Simulator.of_about(size, num_items=20_000, mean_history=50)
    items = Vocabulary.from_ids([f"i{n}" for n in range(simulator.world.num_items)])
    spool, user_ids = Spool(work, items.hash), []
    for table in simulator.interactions():
        block = _histories_of(table, items)
        spool.append(block)
        user_ids += block.user_ids.to_pylist()
    return Log(spool.histories(), items, Vocabulary.from_ids(user_ids))


def _histories_of(table: pa.Table, items: Vocabulary) -> Histories:
    users = table.column("USER_ID").combine_chunks().dictionary_encode()
    user_nums = users.indices.to_numpy()
    times = table.column("TIMESTAMP").to_numpy() * 1_000_000
    order = np.lexsort((times, user_nums))
    lengths = np.bincount(user_nums, minlength=len(users.dictionary))
    nums = items.numbers(table.column("ITEM_ID"))
    return Histories(users.dictionary, offsets_of(lengths), nums[order], times[order], items.hash)


LINES: dict[str, Callable[[Arguments], dict[str, Any]]] = {
    "tfrs": tfrs,
    "transformer": transformer,
    "gru": gru,
    "ray": through_ray,
    "workers": workers,
    "sizes": sizes,
}


def parsed() -> Arguments:
    def numbers(text: str) -> list[int]:
        return [int(float(each)) for each in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="where the data is kept")
    parser.add_argument("--lines", default=",".join(LINES), help="default: %(default)s")
    parser.add_argument("--seeds", type=numbers, help="default: 1 to 5 for tfrs, else 1")
    parser.add_argument("--epochs", type=int, help="at most, in place of the recipe's")
    parser.add_argument(
        "--sizes", type=numbers, default=[100_000, 1_000_000, 5_000_000, 20_000_000]
    )
    parser.add_argument("--size-recipe", default="two-tower", choices=list(RECIPES))
    arguments = parser.parse_args()
    arguments.lines = arguments.lines.split(",")
    if unknown := set(arguments.lines) - set(LINES):
        parser.error(f"no such lines: {', '.join(unknown)}; there are {', '.join(LINES)}")
    return arguments


def main() -> int:
    """Return 0 when no line misses its bar."""
    arguments = parsed()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"benchmark": "train", "calibration_cpu_s": round(calibration(), 3)}
    for name in arguments.lines:
        found[name] = LINES[name](arguments)
        found[name]["load"] = round(os.getloadavg()[0], 2)
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    passed = all(found[name].get("passed", True) for name in arguments.lines)
    print(json.dumps(found | {"passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
