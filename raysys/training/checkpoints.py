"""Checkpoints of a run, written beside the loop, which goes on meanwhile.

Ray Train knows a checkpoint from when it is whole; it gives the newest one to workers that begin
again, keeps two, and removes those before.
"""

import threading
import uuid
from pathlib import Path

import ray.train
from ray.train import CheckpointUploadMode

from raysys.training.checkpoint import Checkpoint, EpochResult
from raysys.training.workers import Workers

_NAME = "training.pt"


class Checkpoints:
    """The checkpoints of one worker's run; every worker makes the same calls."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._is_idle = threading.Event()
        self._is_idle.set()

    def newest(self) -> Checkpoint | None:
        """Return where to go on from, if the run has been at work before."""
        found = ray.train.get_checkpoint()
        if found is None:
            return None
        with found.as_directory() as directory:
            return Checkpoint.load(Path(directory) / _NAME, device=self._workers.device)

    def offer(self, checkpoint: Checkpoint, result: EpochResult) -> None:
        """Begin to write worker 0's checkpoint, unless the last one is not written yet.

        Then it is left out, since there would be more and more of them where the storage is slower
        than an epoch. What goes on from an older one comes to the same weights, a little later.
        """
        is_writer = self._workers.comm.rank == 0
        if not self._workers.sum(is_writer and self._is_idle.is_set()):
            return
        metrics = {"epoch": result.epoch, "loss": result.loss, **result.metrics}
        if not is_writer:
            ray.train.report(metrics, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
            return
        storage = ray.train.get_context().get_storage()
        # Its own name each time: a worker that is cut off from the others may still be writing.
        name = f"epoch-{result.epoch:05}-{uuid.uuid4().hex[:8]}"
        files = storage.storage_filesystem
        place = ray.train.Checkpoint(storage.build_checkpoint_path_from_name(name), files)
        copy = checkpoint.copy()
        self._is_idle.clear()

        def write(place: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
            try:
                files.create_dir(place.path)
                with files.open_output_stream(f"{place.path}/{_NAME}") as file:
                    copy.save(file)
            finally:
                self._is_idle.set()
            return place

        ray.train.report(
            metrics,
            checkpoint=place,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=False,
            checkpoint_upload_fn=write,
        )
