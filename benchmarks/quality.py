"""Quality on MovieLens-100K: `make bench-quality`, one evaluator, one JSON line per model.

Leave-last-out: of each user the last item is test, the one before validation, the rest is learnt;
ties in time keep the order of the log. The whole catalogue is ranked but what the user has seen;
equal scores count against the model. Validation alone chooses the epoch. Models of a recipe, with
its defaults, are trained with several seeds: `mean` and `spread` (standard deviation) are over
seeds, `interval_95` is the bootstrap over users of their mean. `ahead` is the paired bootstrap of
NDCG@10 against EASE with recency-weighted histories.

    make bench-quality ARGS="--models popularity,recency-ease,aws-user-personalization --seeds 1"
    make bench-quality ARGS="--models aws-user-personalization --set hidden_dimension=64"
    make bench-quality ARGS="--models aws-user-personalization --titles sentence"
    make bench-quality ARGS="--refit"    # the best epoch's number, learnt from validation too
    make bench-quality ARGS="--models ensemble"    # both models of histories, refit, together

Settings of the baselines were chosen by validation NDCG@10 on this data.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from movielens_100k import Log, item_features, read_log
from numpy.typing import NDArray
from plain_training import (
    Trained,
    calibration,
    retriever_of,
    timed,
    train_here,
    with_training,
)

from raysys.commands.released_model import embedding_retriever
from raysys.config import EnsembleConfig, LeaveLastOut, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.popularity import popularity_counts, trend_scores, window_counts
from raysys.dataset.splits import Split, split
from raysys.evaluation.baselines.ease import Ease
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.item_neighbors import ItemKnn, ItemNeighbors, SimilarItems
from raysys.evaluation.baselines.transitions import Transitions
from raysys.evaluation.comparison import estimated_mean, paired_difference
from raysys.evaluation.evaluate import Evaluation, evaluate
from raysys.evaluation.topk import Retriever
from raysys.logs.schema import Embedding
from raysys.models.ensemble import Ensemble
from raysys.models.sequence import SequenceModel
from raysys.recipes import RECIPES, USER_PERSONALIZATION, Recipe

KS = (10, 100)
METRIC = "ndcg_at_10"
SHOWN = (METRIC, "hit_rate_at_10", "hit_rate_at_100")
BAR_MODEL = "recency-ease"
BARS = {
    "aws-user-personalization": (0.115, 0.212, 0.665),
    "transformer": (0.122, 0.225, 0.68),
    "ensemble": (0.135, 0.245, 0.70),
}
"""Of `SHOWN`, by recipe."""
ENSEMBLE = (USER_PERSONALIZATION.name, "transformer")

Fit = Callable[[list[Histories], int], Retriever]


def popularity(train: list[Histories], num_items: int) -> Retriever:
    return FixedRanking(popularity_counts(train, num_items))


def trending(train: list[Histories], num_items: int) -> Retriever:
    newest = max(int(block.occurred_at_us.max()) for block in train)
    counts = window_counts(train, num_items, now_us=newest, window_s=24 * 3600)
    return FixedRanking(trend_scores(counts))


def neighbors(train: list[Histories], num_items: int) -> ItemNeighbors:
    return ItemNeighbors.fit(train, num_items, num_neighbors=20, popularity_discount=0.7)


BASELINES: dict[str, Fit] = {
    "popularity": popularity,
    "trending": trending,
    "similar-items": lambda train, n: SimilarItems(ItemNeighbors.fit(train, n)),
    "item-knn": lambda train, n: ItemKnn(neighbors(train, n)),
    "recency-item-knn": lambda train, n: ItemKnn(neighbors(train, n), decay=0.9),
    "ease": lambda train, n: Ease(train, n, l2=100.0),
    "recent-items": lambda train, n: Transitions(train, n, prior=1.0, decay=0.7),
    "last-item": lambda train, n: Transitions(train, n, prior=3.0),
    BAR_MODEL: lambda train, n: Ease(train, n, l2=300.0, decay=0.9),
}


@dataclass
class Measured:
    """One model's runs, one per seed; a baseline has one."""

    evaluations: list[Evaluation] = field(default_factory=list)
    notes: dict[str, list[float]] = field(default_factory=dict)

    def add(self, evaluation: Evaluation, **notes: float) -> None:
        self.evaluations.append(evaluation)
        for name, value in notes.items():
            self.notes.setdefault(name, []).append(value)

    def values(self, metric: str) -> NDArray[np.float64]:
        """Return each user's mean over the runs, (U,)."""
        found: NDArray[np.float64] = np.mean(
            [each.values[metric] for each in self.evaluations], axis=0
        )
        return found


def measure_baseline(fit: Fit, parts: Split, num_items: int, *, refit: bool) -> Measured:
    measured = Measured()
    retriever, cpu_s, _ = timed(lambda: fit([learnt_from(parts, refit=refit)], num_items))
    validated = fit([parts.train], num_items) if refit else retriever
    measured.add(
        evaluate(retriever, parts.test, KS),
        validation=evaluate(validated, parts.validation, [10]).means()[METRIC],
        cpu_s=cpu_s,
    )
    return measured


class Recipes:
    """Learns with each recipe and seed once, whoever asks for it."""

    def __init__(self, log: Log, parts: Split, arguments: argparse.Namespace) -> None:
        self.log, self.parts, self._arguments = log, parts, arguments
        self._features = item_features(arguments.cache, log.items, arguments.titles)
        self._chosen: dict[tuple[str, int], Trained] = {}
        self._refit: dict[tuple[str, int], Trained] = {}

    def chosen(self, recipe: Recipe, seed: int) -> Trained:
        """Return the model of the epoch that validation chose."""
        if (recipe.name, seed) not in self._chosen:
            self._chosen[recipe.name, seed] = train_here(
                self._config(recipe, seed),
                self.log,
                self.parts.train,
                features=self._features,
                validation=self.parts.validation,
            )
        return self._chosen[recipe.name, seed]

    def refit(self, recipe: Recipe, seed: int) -> Trained:
        """Return the model that learnt from validation too, for as many epochs as were best."""
        if (recipe.name, seed) not in self._refit:
            enough = self.chosen(recipe, seed).best(METRIC).epoch
            self._refit[recipe.name, seed] = train_here(
                self._config(recipe, seed),
                self.log,
                learnt_from(self.parts, refit=True),
                features=self._features,
                is_enough=lambda result, model: result.epoch >= enough,
            )
        return self._refit[recipe.name, seed]

    def _config(self, recipe: Recipe, seed: int) -> PipelineConfig:
        config = recipe.configure(self._arguments.set)
        return with_training(config, seed=seed, max_epochs=self._arguments.epochs)


def measure_recipe(recipe: Recipe, recipes: Recipes, seeds: list[int], *, refit: bool) -> Measured:
    measured = Measured()
    for seed in seeds:
        trained = recipes.chosen(recipe, seed)
        best = trained.best(METRIC)
        notes = {"validation": best.metrics[METRIC], "cpu_s": trained.cpu_s}
        notes |= {"epochs": trained.num_epochs, "best_epoch": best.epoch}
        if refit:
            trained = recipes.refit(recipe, seed)
            notes["cpu_s"] += trained.cpu_s
        measured.add(evaluate(retriever_of(trained, recipes.log), recipes.parts.test, KS), **notes)
        say(recipe.name, seed, notes)
    return measured


def measure_ensemble(recipes: Recipes, seeds: list[int]) -> Measured:
    """Let a GRU and a transformer of one seed rank together, both refit."""
    measured = Measured()
    for seed in seeds:
        members, cpu_s = [], 0.0
        for name in ENSEMBLE:
            trained = recipes.refit(RECIPES[name], seed)
            cpu_s += trained.cpu_s + recipes.chosen(RECIPES[name], seed).cpu_s
            assert isinstance(trained.model, SequenceModel)
            members.append(trained.model)
        config = EnsembleConfig(
            members=tuple(member.config for member in members), weights=(1.0,) * len(members)
        )
        together = embedding_retriever(Ensemble(config, members), recipes.log.users)
        measured.add(evaluate(together, recipes.parts.test, KS), cpu_s=cpu_s)
        say("ensemble", seed, {"cpu_s": cpu_s})
    return measured


def say(name: str, seed: int, notes: dict[str, float]) -> None:
    shown = ", ".join(f"{key} {value:.4g}" for key, value in notes.items())
    print(f"{name}, seed {seed}: {shown}", file=sys.stderr, flush=True)


def learnt_from(parts: Split, *, refit: bool) -> Histories:
    """Return what is learnt from; of MovieLens-100K every user has a test item."""
    return parts.test.histories if refit else parts.train


def line_of(name: str, measured: Measured, bar: np.ndarray, seeds: list[int]) -> dict[str, Any]:
    """Return what is to be told of one model."""
    line: dict[str, Any] = {"benchmark": "quality", "model": name, "seeds": seeds}
    for metric in SHOWN:
        means = [each.means()[metric] for each in measured.evaluations]
        estimate = estimated_mean(measured.values(metric))
        line[metric] = {
            "mean": round(float(np.mean(means)), 5),
            "spread": round(float(np.std(means, ddof=1)), 5) if len(means) > 1 else None,
            "interval_95": [round(estimate.low, 5), round(estimate.high, 5)],
        }
    line |= {key: round(float(np.mean(values)), 4) for key, values in measured.notes.items()}
    ahead = paired_difference(measured.values(METRIC), bar)
    line["ahead"] = {
        "of": BAR_MODEL,
        "difference": round(ahead.mean, 5),
        "interval_95": [round(ahead.low, 5), round(ahead.high, 5)],
    }
    if name in BARS:
        line["bars"] = dict(zip(SHOWN, BARS[name], strict=True))
        line["passed"] = ahead.low > 0 and all(
            line[metric]["mean"] >= bound for metric, bound in line["bars"].items()
        )
    return line


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="where the data is kept")
    parser.add_argument("--models", type=lambda text: text.split(","), help="default: all")
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3]
    )
    parser.add_argument("--epochs", type=int, help="at most, in place of the recipe's")
    parser.add_argument("--refit", action="store_true", help="learn from validation in the end")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the named recipes"
    )
    parser.add_argument(
        "--titles",
        type=Embedding,
        choices=[*Embedding],
        default=Embedding.NGRAMS,
        help="how models read the films' titles (default: %(default)s)",
    )
    arguments = parser.parse_args()
    known = [*BASELINES, *RECIPES, "ensemble"]
    if unknown := set(arguments.models or []) - set(known):
        parser.error(f"no such models: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if arguments.set and not arguments.models:
        parser.error("--set needs --models")
    pairs = (text.partition("=") for text in arguments.set)
    arguments.set = {name: yaml.safe_load(value) for name, _, value in pairs}
    arguments.models = arguments.models or known
    return arguments


def main() -> int:
    """Return 0 when no model misses a bar of its own."""
    arguments = parsed()
    torch.set_num_threads(1)  # a thread that waits for another one burns CPU seconds
    log = read_log(arguments.cache)
    parts = split(log.histories, LeaveLastOut())
    calibration_cpu_s = round(calibration(), 3)
    bars = {
        refit: measure_baseline(BASELINES[BAR_MODEL], parts, len(log.items), refit=refit)
        for refit in (False, True)
    }
    recipes, passed = Recipes(log, parts, arguments), True
    for name in arguments.models:
        refit = arguments.refit or name == "ensemble"
        if name in BASELINES:
            measured = measure_baseline(BASELINES[name], parts, len(log.items), refit=refit)
        elif name == "ensemble":
            measured = measure_ensemble(recipes, arguments.seeds)
        else:
            measured = measure_recipe(RECIPES[name], recipes, arguments.seeds, refit=refit)
        seeds = [] if name in BASELINES else arguments.seeds
        line = line_of(name, measured, bars[refit].values(METRIC), seeds)
        line |= {"refit": refit, "calibration_cpu_s": calibration_cpu_s}
        line["load"] = [round(each, 2) for each in os.getloadavg()]
        print(json.dumps(line), flush=True)
        passed &= line.get("passed", True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
