"""Search on a Ray cluster: Optuna proposes, every trial is a run of Ray Train, ASHA stops early.

Ray Tune holds trials, Optuna and ASHA together while a search runs; what must outlive a run is in
the files of the search. So a run that goes on tells Optuna and ASHA anew what came before.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.experiment import Trial as RayTrial

from raysys import storage
from raysys.config import PipelineConfig, TrainingConfig
from raysys.dataset.context import NO_CONTEXT, ContextEncoder
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, RaysysError, TrainingError
from raysys.models.base import EmbeddingModel
from raysys.training.capacity import check_workers_fit, num_workers_held
from raysys.training.checkpoint import EpochResult
from raysys.training.halving import EPOCH, Halving, rungs
from raysys.training.proposals import DEFAULTS, VALUE, Proposals
from raysys.training.search_files import SearchFiles, Trial
from raysys.training.space import Space, with_hyperparameters
from raysys.training.trainer import train_on_ray
from raysys.training.workers import MakeValidate

_VERDICT_TIMEOUT_S = 60.0
_VERDICT_POLL_S = 0.02
_MAX_FAILURES = 2  # of a trial's process or node; the trial then goes on from its checkpoint
# No CPU, or trials would take what their own workers need; Tune wants something: a byte of memory.
_OF_A_TRIAL = {"memory": 1.0}
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints even when it is to be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its CSV and TensorBoard files
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is for the command
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed reports nothing
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # of what `SearchFiles` holds
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched. Paths mean the same on every node."""

    dataset: Path
    files: SearchFiles
    """Claimed, with both vocabularies."""
    config: PipelineConfig
    """Its own values of the hyperparameters are the defaults: the first trial has them."""
    space: Space
    seed: int
    make_validate: MakeValidate
    event_types: EventTypes = NO_EVENT_TYPES
    """That histories tell apart."""
    context: ContextEncoder = NO_CONTEXT


def search_on_ray(
    search: Search,
    *,
    num_trials: int,
    parallel: int | None = None,
    on_progress: Callable[[list[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Run trials on the Ray that runs until there are `num_trials`, and return them all.

    Trials that the files have from before count; those of them that were cut off go on. The trial
    with the defaults always runs to its end, so that the search is compared with them fairly.

    Args:
        parallel: trials at a time; None: as many as the cluster holds.
        on_progress: called in this process after each epoch and at the end of each trial.

    Raises:
        ConfigError: the cluster cannot hold as many trials at a time.
        TrainingError: the trial with the defaults failed.
    """
    training = search.config.training
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    parallel = allowed_parallel(parallel, nodes, training)
    trials = search.files.trials()
    num_left = sum(trial.status == "open" for trial in trials) + max(0, num_trials - len(trials))
    if num_left:
        _run(search, num_left, min(parallel, num_left), on_progress)
    trials = search.files.trials()
    for trial in trials:
        if trial.status != "open":
            storage.remove_tree(search.files.trial(trial.number).run)
    if trials and trials[0].status == "failed":
        raise TrainingError(
            f"The trial with the defaults failed, so there is nothing to compare others with: "
            f"{trials[0].reason}"
        )
    return trials


def allowed_parallel(
    parallel: int | None, nodes: Sequence[Mapping[str, Any]], training: TrainingConfig
) -> int:
    """Return how many trials may train at a time on the nodes, as `ray.nodes()` tells of them.

    Args:
        parallel: how many were asked for; None: as many as there is room for.
    """
    check_workers_fit(nodes, training)
    room = max(1, num_workers_held(nodes, training) // training.max_workers)
    if room < (parallel or 1):
        gpus = " and a GPU" if training.use_gpu else ""
        raise ConfigError(
            f"{parallel} trials at a time were asked for, but the cluster has room for {room}: "
            f"each needs {training.max_workers} workers with {training.cpus_per_worker:g} "
            f"CPUs{gpus}. The others would wait for ever. Ask for fewer, make the workers smaller, "
            f"or add nodes."
        )
    return parallel or room


def _run(
    search: Search,
    num_left: int,
    parallel: int,
    on_progress: Callable[[list[Trial]], None],
) -> None:
    def trial(config: dict[str, Any]) -> None:
        _trial(search, **config)

    with _quiet():
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(trial, _OF_A_TRIAL),
            tune_config=ray.tune.TuneConfig(
                search_alg=Proposals(
                    search.files,
                    search.space,
                    search.space.values_of(search.config),
                    seed=search.seed,
                ),
                scheduler=Halving(search.files, search.config.training.max_epochs),
                num_samples=num_left,
                max_concurrent_trials=parallel,
                reuse_actors=True,  # to start one takes 6 s of one core
            ),
            run_config=ray.tune.RunConfig(
                name="tune",
                storage_path=str(search.files.tune),
                callbacks=[_Bookkeeping(search, on_progress)],
                failure_config=ray.tune.FailureConfig(max_failures=_MAX_FAILURES),
                stop=_StopWhenDefaultsFail(search.files),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            storage.remove_tree(search.files.tune)


def _trial(search: Search, number: int, hyperparameters: dict[str, Any]) -> None:
    """Run one trial, in a process of its own. An error that no retry would mend ends it."""
    files = search.files.trial(number)
    config = with_hyperparameters(search.config, hyperparameters)
    compared = rungs(config.training.max_epochs)
    values = files.read().values

    def report(result: EpochResult) -> None:
        is_new = result.epoch > len(values)  # or learnt again, since the trial was cut off
        if is_new:
            values.append(result.metrics[files.metric])
        if is_new or (result.epoch in compared and str(result.epoch) not in files.verdicts()):
            ray.tune.report({EPOCH: result.epoch, VALUE: max(values[: result.epoch])})

    try:
        train_on_ray(
            search.dataset,
            search.files.items,
            search.files.users,
            config,
            directory=files.run / "learnt",
            make_validate=search.make_validate,
            watcher=TrialWatcher(search.files, number, compared),
            on_epoch=report,
            storage=files.run,
            event_types=search.event_types,
            context=search.context,
            features=search.files.features,
        )
    except RaysysError as error:
        files.end("failed", str(error))
    else:
        files.end("stopped" if any(files.verdicts().values()) else "finished")


@dataclass(frozen=True, slots=True)
class TrialWatcher:
    """In worker 0 of a trial: keeps its best model, and ends it when it is told to."""

    search: SearchFiles
    number: int
    compared: set[int]

    def keep(self, model: EmbeddingModel, results: list[EpochResult]) -> None:
        items, users = Vocabulary.open(self.search.items), Vocabulary.open(self.search.users)
        self.search.trial(self.number).keep(
            model, results, num_users=len(users), vocabulary=items.hash
        )

    def is_over(self, epoch: int) -> bool:
        """Wait for the verdict, which is some tenths of a second away; without one go on."""
        files, deadline = self.search.trial(self.number), time.monotonic() + _VERDICT_TIMEOUT_S
        while True:
            verdicts = files.verdicts()
            if any(verdicts.values()):  # maybe on an epoch before, if the search was cut off then
                return True
            is_awaited = epoch in self.compared and str(epoch) not in verdicts
            if not is_awaited or time.monotonic() > deadline:
                return False
            time.sleep(_VERDICT_POLL_S)


class _Bookkeeping(ray.tune.Callback):
    """Writes down how trials end, and tells of progress."""

    def __init__(self, search: Search, on_progress: Callable[[list[Trial]], None]) -> None:
        self._files = search.files
        self._on_progress = on_progress

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles this for a restoration that is never asked of it

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._on_progress(self._files.trials())

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        self._on_progress(self._files.trials())

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        files = self._files.trial(trial.config["number"])
        last = str(trial.get_error() or "its process died").strip().splitlines()[-1]
        files.end("failed", f"it failed {_MAX_FAILURES + 1} times, at last with: {last}")
        self._on_progress(self._files.trials())


class _StopWhenDefaultsFail(ray.tune.Stopper):
    def __init__(self, files: SearchFiles) -> None:
        self._files = files

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        directory = self._files.trial(DEFAULTS)
        return directory.directory.exists() and directory.read().status == "failed"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune and Optuna from writing to the terminal, and Tune from what the files do."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
