"""Training on a Ray cluster: Ray Data hands out the users, Ray Train runs the loop on each worker.

Every worker reads its own users once, into files of its node that it maps: where memory is enough
they stay in it, and where it is not an epoch reads them again. After each epoch worker 0 has a
checkpoint written; when a worker dies, all begin again from the newest one.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch

from raysys import storage as files_on_storage
from raysys.config import PipelineConfig, TrainingConfig
from raysys.dataset.context import NO_CONTEXT, ContextEncoder
from raysys.dataset.dataset import open_dataset
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import TrainingError
from raysys.placement import wanted_labels
from raysys.training.capacity import check_workers_fit
from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.following import followed
from raysys.training.job import Job, Watcher
from raysys.training.place import Place
from raysys.training.run_files import CHECKPOINTS, RunFiles
from raysys.training.warm_start import WarmStart
from raysys.training.worker import work
from raysys.training.workers import MakeValidate

_MAX_FAILURES = 3
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # Ray's 2 s are waited for after the last epoch
}
"""For Ray Train's processes, where the user has not set them."""
_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""For room for all workers, after which Ray counts the nodes again and starts again; 60 s there."""
_FIXED_TIMEOUT_S, _ELASTIC_TIMEOUT_S = "600", "30"
"""A worker's death is noticed seconds before its node's, so Ray first waits for the dead node."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`directory` holds what `models.weights.load_model` reads; `results` every epoch's, before it
    was learnt once more.
    """

    directory: Path
    results: list[EpochResult]


def train_on_ray(
    dataset: Path,
    items: Path,
    users: Path,
    config: PipelineConfig,
    *,
    directory: Path,
    storage: Path | str,
    event_types: EventTypes = NO_EVENT_TYPES,
    context: ContextEncoder = NO_CONTEXT,
    features: Path | None = None,
    make_validate: MakeValidate | None = None,
    watcher: Watcher | None = None,
    warm_start: WarmStart | None = None,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    on_step: Callable[[StepResult], None] = lambda step: None,
    on_refit: Callable[[float], None] = lambda share: None,
) -> TrainedModel:
    """Train on the Ray that runs, and write the best epoch's model into `directory`.

    Where there are several nodes, the paths of what is read, and `storage`, must mean the same on
    all of them.

    Args:
        dataset: a dataset directory.
        items, users: the saved vocabularies.
        directory: made by this call, here; what it held before is replaced.
        storage: a path, or a URL that `Place` opens, where checkpoints are kept, so that the same
            call goes on after it was stopped.
        event_types: that histories tell apart.
        context: makes codes of what the interactions happened in.
        features: where `FeatureTables.save` wrote what is known of items and users; None, or a
            directory that is not there: nothing. A warm start has its own.
        make_validate: called in each worker with the held-out users that it has, returns what
            measures a model on them; metrics are averaged over the users of all workers. It is
            sent to the workers, so it must be picklable.
        watcher: keeps what it wants of each epoch, and may end the training before its time.
        warm_start: go on from a trained model; None: learn all from nothing.
        on_epoch: called in this process, from another thread, as each epoch ends; first with those
            that an earlier call has learnt.
        on_step: called in the same way, about once a second, with the newest step.
        on_refit: called in the same way while the model is learnt once more, with the share of that
            which is done.

    Raises:
        ConfigError: the cluster cannot hold so many workers, or `storage` cannot be opened.
        DatasetError: the dataset cannot be read.
        TrainingError: nothing can be learnt, `storage` is another training's, or workers kept
            dying.
    """
    files = RunFiles(Place.of(storage))
    opened, vocabulary = open_dataset(dataset), Vocabulary.open(items)
    files.claim(
        {
            "config": config.model_dump(mode="json"),
            "dataset": opened.manifest.import_id,
            "items": vocabulary.hash,
            "users": Vocabulary.open(users).hash,
            "event_types": list(event_types.names),
            "context": context.model_dump(mode="json"),
            "warm_start": None if warm_start is None else warm_start.fingerprint(),
        }
    )
    job = Job(
        shards=[path.absolute() for path in opened.shard_paths()],
        items=items.absolute(),
        users=users.absolute(),
        event_types=event_types,
        context=context,
        features=None if features is None else features.absolute(),
        config=config,
        files=files,
        make_validate=make_validate,
        watcher=watcher,
        warm_start=warm_start,
    )
    _run(job, on_epoch, on_step)
    results = _brought(files, directory.absolute())
    # An update keeps what was measured: the better of the release and of what it learnt.
    if config.training.refit and warm_start is None and results[-1].metrics:
        metric = config.evaluation.metric_name
        best = max(results, key=lambda result: result.metrics[metric])
        _refit(job, best.epoch, directory.absolute(), on_refit)
    return TrainedModel(directory, results)


def _refit(job: Job, num_epochs: int, directory: Path, on_refit: Callable[[float], None]) -> None:
    """Learn anew what `directory` holds, for so many epochs, from the validation part too."""
    files = job.files.of_refit()
    files.claim({"refit_epochs": num_epochs})
    again = replace(job, files=files, make_validate=None, watcher=None, refit_epochs=num_epochs)
    _run(
        again,
        lambda result: on_refit(result.epoch / num_epochs),
        lambda step: on_refit((step.epoch - 1 + step.share) / num_epochs),
    )
    _brought(files, directory)


def _brought(files: RunFiles, directory: Path) -> list[EpochResult]:
    """Put the model where it is wanted, all or nothing."""
    staging = files_on_storage.staging_directory(directory)
    results = files.fetch_model(staging)
    files_on_storage.remove_tree(directory)
    files_on_storage.publish_directory(staging, directory)
    return results


def _run(
    job: Job, on_epoch: Callable[[EpochResult], None], on_step: Callable[[StepResult], None]
) -> None:
    training = job.config.training
    check_workers_fit(ray.nodes(), training)  # type: ignore[no-untyped-call]
    place = job.files.place
    trainer = _Trainer(
        work,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(  # type: ignore[call-arg]  # mypy sees that of V1
            num_workers=training.num_workers,  # type: ignore[arg-type]
            use_gpu=training.use_gpu,
            resources_per_worker={"CPU": training.cpus_per_worker},
            label_selector=wanted_labels(),
        ),
        run_config=ray.train.RunConfig(
            name=CHECKPOINTS,
            storage_path=place.path,
            storage_filesystem=place.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=_MAX_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    with followed(job.files, on_epoch, on_step, trainer.abort) as follower_error:
        try:
            with _environment(training):
                trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise TrainingError(
                f"Training failed {_MAX_FAILURES + 1} times and was given up. Logs of its workers "
                f"are in the Ray dashboard. The last failure: {error}"
            ) from error
        except BaseException:
            trainer.abort()
            if follower_error:
                raise follower_error[0] from None
            raise
    if failure := job.files.failure():
        raise failure


class _Trainer(ray.train.torch.TorchTrainer):
    """A TorchTrainer that can be stopped, and that leaves Ctrl-C to this process."""

    _controller: Any = None

    def _register_sigint_handler(self, controller: Any) -> None:
        # Ray would install a handler for good, which ends the process with exit code 0.
        self._controller = controller

    def abort(self) -> None:
        """End the workers and the controller, if they run."""
        if self._controller is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._controller.abort.remote(), timeout=30)


@contextmanager
def _environment(training: TrainingConfig) -> Iterator[None]:
    is_fixed = training.min_workers == training.max_workers
    timeout_s = _FIXED_TIMEOUT_S if is_fixed else _ELASTIC_TIMEOUT_S
    wanted = _ENVIRONMENT | {_START_TIMEOUT: timeout_s}
    if len(ray.nodes()) == 1:  # type: ignore[no-untyped-call]
        # Its actor, 3 s of one core to start, hears of nodes that are about to be taken away.
        wanted["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
