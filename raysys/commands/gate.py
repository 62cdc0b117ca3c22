"""Judging what a release would learn before it takes the release's place.

The newest interactions are held back (the window). A challenger learns what is new before them,
and both it and the champion, the release as it is, rank what came in the window. A challenger that
passes is thrown away: what is published learns the window too.
"""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from raysys import storage
from raysys.commands.building import WriteModel
from raysys.commands.console import Advance, Console
from raysys.commands.material import Material
from raysys.commands.released_model import embedding_retriever
from raysys.config import GateConfig, PipelineConfig, TimeSplit
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.splits import SplitBlocks
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.evaluate import Evaluation, evaluate
from raysys.evaluation.gate import Verdict, judged
from raysys.evaluation.topk import Retriever
from raysys.models.weights import load_model
from raysys.release import MODEL_DIRECTORY, publishing

DECISIONS = "decisions"
"""The directory, below that of the releases, in which each decision is a JSON file."""


def holding_back_the_window(
    gate: GateConfig, config: PipelineConfig, material: Material, after_us: int
) -> PipelineConfig | None:
    """Return the settings with which the window, and nothing else, is not learnt.

    None where nothing new would be left to learn.

    Args:
        after_us: what happened later is new, in microseconds since 1970 UTC.
    """
    times_us = material.histories.occurred_at_us
    num_new = np.count_nonzero(times_us > after_us)
    num_judging = math.ceil(gate.window * num_new)
    if num_judging == num_new:
        return None
    # What happened in one moment is on one side: the window may begin a little earlier.
    split = TimeSplit(test_share=num_judging / len(times_us), validation_share=0.0)
    training = config.training.model_copy(update={"refit": False})
    return config.model_copy(update={"split": split, "training": training})


def judged_models(
    gate: GateConfig,
    material: Material,
    releases: Path,
    config: PipelineConfig,
    *,
    champion: WriteModel,
    challenger: WriteModel,
    console: Console,
) -> Verdict:
    """Measure both on the window. Nothing is published.

    Args:
        config: of `holding_back_the_window`.
        champion, challenger: write models in the numbers of the material; the challenger must not
            have learnt the window.

    Raises:
        DatasetError: nobody did anything in the window.
    """
    parts = SplitBlocks.of(material.histories, config.split, has_validation=False)
    popular = FixedRanking(popularity_counts(parts.train(), len(material.items)))
    found = []
    with publishing(releases) as draft:
        material.write(draft.path)
        for name, write_model in (("champion", champion), ("challenger", challenger)):
            storage.remove_tree(draft.path / MODEL_DIRECTORY)
            write_model(material, draft.path)
            model = load_model(draft.path / MODEL_DIRECTORY, vocabulary=material.items.hash)
            retriever = embedding_retriever(model, material.users, popular)
            with console.progress(f"judging the {name}") as advance:
                found.append(_measured(retriever, parts, config.evaluation.metric_k, advance))
    return judged(found[0], found[1], config.evaluation.metric_name, margin=gate.margin)


def _measured(retriever: Retriever, parts: SplitBlocks, k: int, advance: Advance) -> Evaluation:
    measured = []
    for block, part in enumerate(parts):
        advance(block, len(parts.blocks))
        if len(part.test):
            measured.append(evaluate(retriever, part.test, [k]))
    advance(len(parts.blocks), len(parts.blocks))
    return Evaluation.joined(measured)


def store_decision(releases: Path, champion: str, decided: dict[str, Any]) -> Path:
    """Write what was decided about an update of a release, and return the file."""
    now = datetime.now(UTC)
    path = (
        releases.absolute() / DECISIONS / f"{now:%Y%m%dT%H%M%S}-{champion.rpartition('-')[2]}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"release": champion, "decided_at": now.isoformat(timespec="seconds")}
    storage.write_json(path, told | decided)
    return path
