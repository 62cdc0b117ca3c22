"""What each worker of a run does: read its users, learn with the others, tell how it goes."""

import tempfile
from pathlib import Path
from typing import Any

import ray.train.torch
import torch

from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import RaysysError
from raysys.models.base import EmbeddingModel
from raysys.models.weights import save_model
from raysys.precedence import LEARNING, let_others_go_first
from raysys.training.checkpoint import Checkpoint, EpochResult, StepResult
from raysys.training.checkpoints import Checkpoints
from raysys.training.following import Teller
from raysys.training.job import Job
from raysys.training.loading import load_users
from raysys.training.loop import fit
from raysys.training.metrics import report_epoch
from raysys.training.preparation import prepare
from raysys.training.workers import OtherWorkerFailed, Workers


def work(loop_config: dict[str, Any]) -> None:
    """Run one worker. An error that no further try would mend ends the run without another try."""
    let_others_go_first(LEARNING)
    job: Job = loop_config["job"]
    try:
        _train(job, Workers(ray.train.torch.get_device()))
    except OtherWorkerFailed:
        pass
    except RaysysError as error:
        job.files.fail(error)


def _train(job: Job, workers: Workers) -> None:
    settings = job.config.training
    torch.set_num_threads(settings.threads_per_worker)
    items, users = Vocabulary.open(job.items), Vocabulary.open(job.users)
    histories = workers.together(lambda: _own_histories(job, workers))
    # Every worker comes to the same errors here, in the same place.
    prepared = prepare(
        histories,
        job.config,
        items,
        users,
        num_event_types=len(job.event_types),
        context_sizes=job.context.sizes,
        features=job.features,
        warm_start=job.warm_start,
        total=workers.total,
        has_validation=job.refit_epochs is None,
    )
    model, pieces = prepared.model.to(workers.device), prepared.pieces
    checkpoints = Checkpoints(workers)
    start = checkpoints.newest()
    reports = _Reports(job, model, workers, checkpoints, start)
    results = fit(
        model,
        pieces.train,
        config=job.config,
        user_nums=prepared.user_nums,
        validate=workers.validation(pieces.validation, job.make_validate),
        on_epoch=reports.on_epoch,
        on_step=reports.on_step,
        comm=workers.comm,
        start=start,
        num_epochs=job.refit_epochs,
        is_trained=job.warm_start is not None,
    )
    if workers.comm.rank == 0:
        with tempfile.TemporaryDirectory(prefix="raysys-model-") as directory:
            save_model(model, Path(directory), num_users=len(users), vocabulary=items.hash)
            job.files.finish(Path(directory), results)


def _own_histories(job: Job, workers: Workers) -> Histories:
    return load_users(
        job.shards,
        job.items,
        job.config.feedback,
        event_types=job.event_types,
        context=job.context,
        rank=workers.comm.rank,
        num_workers=workers.comm.num_ranks,
        num_readers=job.config.training.threads_per_worker,
    )


class _Reports:
    """What a worker says of its training; worker 0 speaks for all of them."""

    def __init__(
        self,
        job: Job,
        model: EmbeddingModel,
        workers: Workers,
        checkpoints: Checkpoints,
        start: Checkpoint | None,
    ) -> None:
        self._watcher = job.watcher
        self._model = model
        self._workers = workers
        self._checkpoints = checkpoints
        self._teller = None
        if workers.comm.rank == 0:
            self._teller = Teller(job.files, [] if start is None else start.results)

    def on_step(self, step: StepResult) -> None:
        if self._teller is not None:
            self._teller.on_step(step)

    def on_epoch(self, result: EpochResult, checkpoint: Checkpoint) -> bool:
        """Tell of an epoch; return whether the training is to end here."""
        if self._watcher is not None and self._workers.comm.rank == 0:
            self._watcher.keep(self._model, checkpoint.results)
        self._checkpoints.offer(checkpoint, result)
        is_over = False
        if self._teller is not None:
            self._teller.on_epoch(checkpoint.results)
            report_epoch(result)
            is_over = self._watcher is not None and self._watcher.is_over(result.epoch)
        return self._watcher is not None and self._workers.sum(is_over) > 0
