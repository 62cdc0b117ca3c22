"""The best two towers of raysys under the protocol of TFRS's retrieval tutorial.

The split, the titles and the ranks are those of `tfrs_retrieval.py`: four fifths of MovieLens-100K
drawn at random to learn from, every test pair's title ranked among all 1,664, nothing excluded.
What differs is the model: it reads years and genres of titles, and age, gender and occupation of
users; it chooses among all titles (full softmax); AdamW with much weight decay; any number of
epochs. A tenth of what is learnt from is held back and chooses the epoch. Run with
`make bench-tfrs-features`; the last line is JSON.

The settings were chosen on the held back tenth too, one seed each, by top-100 of its pairs: ids
alone 0.400 with weight decay 0.1 and 0.413 with 1.0; features 0.413 with 0.1 and 0.412 with 1.0,
which has the higher top-10 (0.066, not 0.060); with words of titles and zip codes 0.411. So where
every title has been met, much weight decay does what features do.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from movielens_100k import Log, features_of, read_log, title_with_year
from plain_training import calibration, train_here
from tfrs_retrieval import KS, drawn_apart, top_k_accuracies

from raysys.config import EvaluationConfig, PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held

BARS = {"top_100": 0.30}


def config(seed: int) -> PipelineConfig:
    """Return the settings that did best on what was held back."""
    return PipelineConfig(
        model=TwoTowerConfig(embedding_dim=32),
        training=TrainingConfig(
            learning_rate=5e-3, weight_decay=1.0, batch_size=1024, max_epochs=30, seed=seed
        ),
        evaluation=EvaluationConfig(ks=KS, metric="recall", metric_k=100),
    )


def held_back(train: Histories) -> tuple[Histories, Held]:
    """Return nine tenths of the interactions, and a tenth, drawn without regard to user or time."""
    total = train.num_interactions
    is_held = np.zeros(total, dtype=bool)
    is_held[np.random.default_rng(7).permutation(total)[: total // 10]] = True
    learnt, relevant = train.where(~is_held), train.where(is_held)
    rows = np.flatnonzero(relevant.lengths)
    return learnt, Held(learnt.take(rows), relevant.take(rows))


def run(seed: int, log: Log, features: FeatureTables) -> dict[str, float]:
    """Train once; return the test accuracies, the best epoch, and what the training took."""
    train, test = drawn_apart(log.histories)
    learnt, validation = held_back(train)
    trained = train_here(
        config(seed),
        log,
        learnt,
        features=features,
        validation=validation,
        exclude_history=False,
    )
    epoch = trained.best("recall_at_100").epoch
    return top_k_accuracies(trained.model, log, test) | {"epoch": epoch, "cpu_s": trained.cpu_s}


def main() -> int:
    """Return 0 when the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="where the data is kept")
    parser.add_argument("--seeds", type=int, default=5, help="how many trainings; the mean counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log = read_log(arguments.cache, item_of=title_with_year)
    features = features_of(arguments.cache, log, item_of=title_with_year)
    calibration_cpu_s = calibration()
    runs = []
    for seed in range(1, arguments.seeds + 1):
        runs.append(run(seed, log, features))
        print(
            f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in runs[-1].items()),
            flush=True,
        )
    means = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    passed = means["top_100"] >= BARS["top_100"]
    result = {name: round(value, 5) for name, value in means.items()}
    result |= {"calibration_cpu_s": round(calibration_cpu_s, 3), "seeds": arguments.seeds}
    print(json.dumps({"benchmark": "tfrs-features", **result, "bars": BARS, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
