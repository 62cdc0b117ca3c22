"""What an update costs and brings, against training anew on the same data.

A simulated log is cut by time: a model learns the older part, an update of it learns the newer
part, and another model learns both from nothing. All in this process, on one thread, without Ray,
as each worker of it would; `cost` is CPU seconds of learning and validation, the update's against
the other's. The difference of NDCG@10, as a share of that of the model that learnt anew, is over
all users of the test part and paired. Run with `make bench-update`; the last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import torch

from raysys.commands.building import WriteModel, build_release
from raysys.commands.console import Console
from raysys.commands.feature_tables import feature_tables
from raysys.commands.going_on import learning_what_is_new, open_update
from raysys.commands.material import Material
from raysys.commands.measuring import MakeValidate
from raysys.commands.released_model import ReleasedModel
from raysys.config import PipelineConfig
from raysys.dataset.splits import SplitBlocks
from raysys.evaluation.comparison import paired_difference
from raysys.evaluation.evaluate import Evaluation, evaluate
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import ImportMode
from raysys.logs.simulator import Simulator
from raysys.logs.simulator.writing import write_log
from raysys.models.weights import save_model
from raysys.recipes import USER_PERSONALIZATION
from raysys.release import MODEL_DIRECTORY, USER_VOCABULARY, Release
from raysys.training.loop import fit
from raysys.training.preparation import prepare
from raysys.training.warm_start import WarmStart

COST_BAR, LOSS_BAR = 0.2, -0.02
METRIC = "ndcg_at_10"


@dataclass
class Trained:
    """What a training has taken."""

    cpu_s: float = 0.0
    epochs: list[float] = field(default_factory=list)
    """The validation metric after each."""

    def here(self, config: PipelineConfig, warm_start: WarmStart | None = None) -> WriteModel:
        """Return what trains in this process, as one worker of Ray Train does."""

        def write(material: Material, draft: Path) -> None:
            items, users = material.items, material.users
            with tempfile.TemporaryDirectory() as work:
                if warm_start is None:  # else the model that it begins with knows its features
                    feature_tables(material, config.model).save(Path(work) / "features")
                prepared = prepare(
                    material.histories,
                    config,
                    items,
                    users,
                    features=Path(work) / "features",
                    warm_start=warm_start,
                )
            validate = MakeValidate(config.evaluation, draft / USER_VOCABULARY)
            began = time.process_time()
            results = fit(
                prepared.model,
                prepared.pieces.train,
                config=config,
                user_nums=prepared.user_nums,
                validate=validate(prepared.pieces.validation),
                is_trained=warm_start is not None,
                on_epoch=lambda result, checkpoint: print(result, file=sys.stderr, flush=True),
            )
            self.cpu_s = time.process_time() - began
            self.epochs = [
                round(each.metrics[config.evaluation.metric_name], 5) for each in results
            ]
            directory = draft / MODEL_DIRECTORY
            directory.mkdir(exist_ok=True)
            save_model(prepared.model, directory, num_users=len(users), vocabulary=items.hash)

        return write


def cut_by_time(rows: int, seed: int, new_share: float, work: Path) -> tuple[Path, Path]:
    """Simulate a log, and write its older and its newer part."""
    written = write_log(Simulator.of_about(rows, seed=seed), work / "log", num_files=1)
    path = Path(str(written.files.interactions))
    [file] = sorted(path.iterdir()) if path.is_dir() else [path]
    table = pyarrow.csv.read_csv(file)
    order = np.argsort(table.column("TIMESTAMP").to_numpy(), kind="stable")
    border = table.column("TIMESTAMP")[int(order[int(len(order) * (1 - new_share))])]
    is_new = pc.greater_equal(table.column("TIMESTAMP"), border)
    parts = work / "old.csv", work / "new.csv"
    for part, mask in zip(parts, (pc.invert(is_new), is_new), strict=True):
        pyarrow.csv.write_csv(table.filter(mask), part)
    return parts


def measured(release: Release, material: Material, config: PipelineConfig) -> Evaluation:
    """Rank the test part of all users, in the order of the dataset's users."""
    retriever = ReleasedModel(release).retriever
    parts = SplitBlocks.of(material.histories, config.split)
    return Evaluation.joined([evaluate(retriever, part.test, [10]) for part in parts])


def compare(arguments: argparse.Namespace, config: PipelineConfig, work: Path) -> dict[str, Any]:
    """Learn three times, and say what the update cost and brought."""
    old, new = cut_by_time(arguments.interactions, arguments.seed, arguments.new_share, work)
    console, dataset, releases = Console(as_json=True), work / "dataset", work / "releases"

    def released(material: Material, write: WriteModel) -> Release:
        release, _ = build_release(
            material, releases, config, recipe="custom", write_model=write, console=console
        )
        return release

    import_log([old], dataset, run=run_here)
    before, updated, anew = Trained(), Trained(), Trained()
    first = released(Material.of(dataset, config), before.here(config))
    import_log([new], dataset, mode=ImportMode.INCREMENTAL, run=run_here)
    update = open_update(first, dataset)
    learn = learning_what_is_new(update, updated.here, epochs=arguments.epochs)
    second = released(update.material, learn)
    both = Material.of(dataset, config)
    third = released(both, anew.here(config))
    values = {
        "update": measured(second, update.material, config),
        "anew": measured(third, both, config),
    }
    assert values["update"].user_ids.equals(values["anew"].user_ids)
    ndcg = {name: each.means()[METRIC] for name, each in values.items()}
    found = paired_difference(values["update"].values[METRIC], values["anew"].values[METRIC])
    share = [each / ndcg["anew"] for each in (found.mean, found.low, found.high)]
    return {
        "rows": both.dataset.manifest.rows_accepted,
        "users": len(both.users),
        "active_users": update.num_active_users,
        "new_items": len(update.material.items) - update.num_known_items,
        "before_epochs": before.epochs,
        "update_epochs": updated.epochs,
        "anew_epochs": anew.epochs,
        "update_cpu_s": round(updated.cpu_s, 2),
        "anew_cpu_s": round(anew.cpu_s, 2),
        "cost": round(updated.cpu_s / anew.cpu_s, 4),
        "update_ndcg_at_10": round(ndcg["update"], 5),
        "anew_ndcg_at_10": round(ndcg["anew"], 5),
        "difference": round(share[0], 4),
        "interval": [round(each, 4) for each in share[1:]],
    }


def main() -> int:
    """Return 0 when both bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interactions", type=int, default=5_000_000, help="%(default)s")
    parser.add_argument("--new-share", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=2, help="of the update (%(default)s)")
    parser.add_argument("--anew-epochs", type=int, help="at most (default: the recipe's)")
    parser.add_argument("--width", type=int, help="of the model (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="of the log (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = USER_PERSONALIZATION.configure({})
    if arguments.anew_epochs is not None:
        training = config.training.model_copy(update={"max_epochs": arguments.anew_epochs})
        config = config.model_copy(update={"training": training})
    if arguments.width is not None:
        model = config.model.model_copy(update={"hidden_dimension": arguments.width})
        config = config.model_copy(update={"model": model})
    with tempfile.TemporaryDirectory() as work:
        result = compare(arguments, config, Path(work))
    passed = result["cost"] <= COST_BAR and result["interval"][0] > LOSS_BAR
    load = [round(each, 2) for each in os.getloadavg()]
    bars = {"cost_bar": COST_BAR, "interval_bar": LOSS_BAR}
    print(json.dumps({"benchmark": "update", **result, **bars, "load": load, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
