"""Training on a Ray cluster: Ray Data hands out the users, Ray Train runs the loop on each worker.

Every worker reads its own users once, into files of its node that it maps: where memory is enough
they stay in it, and where it is not an epoch reads them again. After each epoch worker 0 writes a
checkpoint; when a worker dies, all begin again from the newest one.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.train
import ray.train.torch
import torch

from raysys import storage as files_on_storage
from raysys.config import PipelineConfig
from raysys.dataset.dataset import open_dataset
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import RaysysError, TrainingError
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.weights import save_model
from raysys.training.capacity import check_workers_fit
from raysys.training.checkpoint import Checkpoint, EpochResult
from raysys.training.communication import Communicator
from raysys.training.loading import load_users
from raysys.training.loop import fit
from raysys.training.metrics import report_epoch
from raysys.training.pieces import Pieces, pieces_of
from raysys.training.run_files import RunFiles, followed
from raysys.training.warm_start import WarmStart
from raysys.training.workers import MakeValidate, OtherWorkerFailed, Workers

_CHECKPOINT_NAME = "training.pt"
_MAX_FAILURES = 3
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # Ray's 2 s are waited for after the last epoch
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # Ray gives up after 60 s and starts again
}
"""For Ray Train's processes, where the user has not set them."""


class Watcher(Protocol):
    """Follows a training from within worker 0, where it is sent to; so it must be picklable."""

    def keep(self, model: EmbeddingModel, results: list[EpochResult]) -> None:
        """Be called after each epoch, before it is reported, with every result so far."""

    def is_over(self, epoch: int) -> bool:
        """Say, once an epoch was reported, whether the training is to end there."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """`directory` holds what `models.weights.load_model` reads; `results` every epoch's."""

    directory: Path
    results: list[EpochResult]


@dataclass(frozen=True, slots=True)
class _Job:
    """What every worker is told. Paths are absolute: workers run in directories of their own."""

    shards: list[Path]
    items: Path
    users: Path
    config: PipelineConfig
    directory: Path
    files: RunFiles
    make_validate: MakeValidate | None
    watcher: Watcher | None
    warm_start: WarmStart | None


def train_on_ray(
    dataset: Path,
    items: Path,
    users: Path,
    config: PipelineConfig,
    *,
    directory: Path,
    make_validate: MakeValidate | None = None,
    watcher: Watcher | None = None,
    warm_start: WarmStart | None = None,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    storage: Path | None = None,
) -> TrainedModel:
    """Train on the Ray that runs, and write the best epoch's model into `directory`.

    Where there are several nodes, every path must mean the same on all of them.

    Args:
        dataset: a dataset directory.
        items, users: the saved vocabularies.
        directory: made by this call; what it held before is replaced.
        make_validate: called in each worker with the held-out users that it has, returns what
            measures a model on them; metrics are averaged over the users of all workers. It is
            sent to the workers, so it must be picklable.
        watcher: keeps what it wants of each epoch, and may end the training before its time.
        warm_start: go on from a trained model; None: learn all from nothing.
        on_epoch: called in this process, from another thread, as each epoch ends.
        storage: where checkpoints are kept, so that the same call goes on after it was stopped.
            None: in a temporary directory of this node, for the time of the call.

    Raises:
        ConfigError: the cluster cannot hold so many workers.
        DatasetError: the dataset cannot be read.
        TrainingError: nothing can be learnt, `storage` is another training's, or workers kept
            dying.
    """
    with contextlib.ExitStack() as stack:
        if storage is None:
            storage = Path(stack.enter_context(_temporary_directory()))
        files = RunFiles(storage.absolute())
        job = _job(
            dataset,
            items,
            users,
            config,
            directory,
            files,
            make_validate,
            watcher,
            warm_start,
        )
        _run(job, on_epoch)
        return TrainedModel(directory, files.results())


def _job(
    dataset: Path,
    items: Path,
    users: Path,
    config: PipelineConfig,
    directory: Path,
    files: RunFiles,
    make_validate: MakeValidate | None,
    watcher: Watcher | None,
    warm_start: WarmStart | None,
) -> _Job:
    opened, vocabulary = open_dataset(dataset), Vocabulary.open(items)
    files.claim(
        {
            "config": config.model_dump(mode="json"),
            "dataset": opened.manifest.import_id,
            "items": vocabulary.hash,
            "users": Vocabulary.open(users).hash,
            "warm_start": None if warm_start is None else warm_start.fingerprint(),
        }
    )
    return _Job(
        shards=[path.absolute() for path in opened.shard_paths()],
        items=items.absolute(),
        users=users.absolute(),
        config=config,
        directory=directory.absolute(),
        files=files,
        make_validate=make_validate,
        watcher=watcher,
        warm_start=warm_start,
    )


def _run(job: _Job, on_epoch: Callable[[EpochResult], None]) -> None:
    training = job.config.training
    check_workers_fit(ray.nodes(), training)  # type: ignore[no-untyped-call]
    trainer = _Trainer(
        _work,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=training.num_workers,
            use_gpu=training.use_gpu,
            resources_per_worker={"CPU": training.cpus_per_worker},
        ),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=str(job.files.directory),
            failure_config=ray.train.FailureConfig(max_failures=_MAX_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    with followed(job.files, on_epoch, trainer.abort) as follower_error:
        try:
            with _environment():
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


def _work(loop_config: dict[str, Any]) -> None:
    """Run one worker. An error that no further try would mend ends the run without another try."""
    job: _Job = loop_config["job"]
    try:
        _train(job, Workers(ray.train.torch.get_device()))
    except OtherWorkerFailed:
        pass
    except RaysysError as error:
        job.files.fail(error)


def _train(job: _Job, workers: Workers) -> None:
    settings = job.config.training
    torch.set_num_threads(settings.threads_per_worker)
    items, users = Vocabulary.open(job.items), Vocabulary.open(job.users)
    pieces = _own_pieces(job, workers)
    torch.manual_seed(settings.seed)
    if job.warm_start is None:
        model = build_model(job.config.model, num_items=len(items), num_users=len(users))
    else:
        model = job.warm_start.load(items.hash)
    model.to(workers.device)
    found = ray.train.get_checkpoint()
    results = fit(
        model,
        pieces.train,
        config=job.config,
        user_nums=users.numbers(pieces.train.user_ids, num_buckets=model.num_user_buckets),
        validate=workers.validation(pieces.validation, job.make_validate),
        on_epoch=lambda result, checkpoint: _report(job, model, result, checkpoint, workers),
        comm=workers.comm,
        start=None if found is None else _load(found, workers.device),
    )
    if workers.comm.rank == 0:
        _save(job, model, results, num_users=len(users), vocabulary=items.hash)


def _own_pieces(job: _Job, workers: Workers) -> Pieces:
    histories = workers.together(lambda: _own_histories(job, workers.comm))
    # Every worker comes to the same errors here, in the same place.
    pieces = pieces_of(histories, job.config, workers.total)
    return pieces if job.warm_start is None else job.warm_start.narrowed(pieces, histories)


def _own_histories(job: _Job, comm: Communicator) -> Histories:
    return load_users(
        job.shards,
        job.items,
        job.config.feedback,
        rank=comm.rank,
        num_workers=comm.num_ranks,
        num_readers=job.config.training.threads_per_worker,
    )


def _report(
    job: _Job,
    model: EmbeddingModel,
    result: EpochResult,
    checkpoint: Checkpoint,
    workers: Workers,
) -> bool:
    """Tell of an epoch; return whether the training is to end here."""
    metrics = {
        "epoch": result.epoch,
        "loss": result.loss,
        "examples_per_s": result.examples_per_s,
        **result.metrics,
    }
    if workers.comm.rank != 0:
        ray.train.report(metrics)
        return job.watcher is not None and workers.sum(0) > 0
    if job.watcher is not None:
        job.watcher.keep(model, checkpoint.results)
    with tempfile.TemporaryDirectory() as directory:
        checkpoint.save(Path(directory) / _CHECKPOINT_NAME)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(directory))
    job.files.add_progress(result)
    report_epoch(result)
    return job.watcher is not None and workers.sum(job.watcher.is_over(result.epoch)) > 0


def _load(checkpoint: ray.train.Checkpoint, device: torch.device) -> Checkpoint:
    with checkpoint.as_directory() as directory:
        return Checkpoint.load(Path(directory) / _CHECKPOINT_NAME, device=device)


def _save(
    job: _Job,
    model: EmbeddingModel,
    results: list[EpochResult],
    *,
    num_users: int,
    vocabulary: str,
) -> None:
    staging = files_on_storage.staging_directory(job.directory)
    save_model(model, staging, num_users=num_users, vocabulary=vocabulary)
    files_on_storage.remove_tree(job.directory)
    files_on_storage.publish_directory(staging, job.directory)
    job.files.finish(results)


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    # Where a stopped run's workers are still writing, its end must not hide why it was stopped.
    return tempfile.TemporaryDirectory(prefix="raysys-train-", ignore_cleanup_errors=True)


@contextmanager
def _environment() -> Iterator[None]:
    wanted = dict(_ENVIRONMENT)
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
