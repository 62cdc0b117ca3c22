"""What a training run leaves in its storage directory, beside Ray Train's checkpoints.

STORAGE/
    run.json         what is trained: settings and data. Another training is refused here
    progress.jsonl   one line per finished epoch, written by worker 0, read by the driver
    results.json     every epoch's result, once the model is written
    failure.json     why the run cannot succeed, however often it is tried again
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raysys import errors, storage
from raysys.errors import RaysysError, TrainingError
from raysys.training.checkpoint import EpochResult

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run; all workers and the driver see the same directory."""

    directory: Path

    def claim(self, run: dict[str, Any]) -> None:
        """Make the directory this run's, or go on with the run that it holds.

        Raises:
            TrainingError: it holds the run of other settings or other data.
        """
        path = self.directory / "run.json"
        self.directory.mkdir(parents=True, exist_ok=True)
        if path.exists() and storage.read_json(path) != run:
            raise TrainingError(
                f"{self.directory} holds a training with other settings or other data, and its "
                f"checkpoints do not fit this one. Choose another directory, or remove it."
            )
        storage.write_json(path, run)
        for path in (self._progress, self._results, self._failure):
            path.unlink(missing_ok=True)

    def add_progress(self, result: EpochResult) -> None:
        """Append one epoch's line."""
        with self._progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def progress(self) -> list[EpochResult]:
        """Return the epochs whose lines are whole.

        After a worker died, an epoch that was learnt again has more than one line.
        """
        try:
            text = self._progress.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        whole, _, _ = text.rpartition("\n")
        return [EpochResult(**json.loads(line)) for line in whole.splitlines()]

    def finish(self, results: list[EpochResult]) -> None:
        """Say that the model is written, and what led to it."""
        storage.write_json(self._results, [asdict(result) for result in results])

    def results(self) -> list[EpochResult]:
        """Return what `finish` was given.

        Raises:
            TrainingError: the run ended without it.
        """
        try:
            return [EpochResult(**result) for result in storage.read_json(self._results)]
        except FileNotFoundError as error:
            raise TrainingError(
                f"The training in {self.directory} ended without a model. Its log is in the Ray "
                f"dashboard; the same call goes on from the newest checkpoint."
            ) from error

    def fail(self, error: RaysysError) -> None:
        """Say why no further try can succeed."""
        named = {"error": type(error).__name__, "message": str(error)}
        storage.write_json(self._failure, named)

    def failure(self) -> RaysysError | None:
        """Return the error that `fail` was given, if it was."""
        try:
            named = storage.read_json(self._failure)
        except FileNotFoundError:
            return None
        error: RaysysError = getattr(errors, named["error"])(named["message"])
        return error

    @property
    def _progress(self) -> Path:
        return self.directory / "progress.jsonl"

    @property
    def _results(self) -> Path:
        return self.directory / "results.json"

    @property
    def _failure(self) -> Path:
        return self.directory / "failure.json"


@contextmanager
def followed(
    files: RunFiles, on_epoch: Callable[[EpochResult], None], abort: Callable[[], None]
) -> Iterator[list[BaseException]]:
    """Call `on_epoch` for each epoch that ends in the block; what it raises ends the training."""
    stopped = threading.Event()
    errors: list[BaseException] = []

    def follow() -> None:
        num_seen = 0
        is_last = False
        while not is_last:
            is_last = stopped.wait(_POLL_S)
            results = files.progress()
            try:
                for result in results[num_seen:]:
                    on_epoch(result)
            except BaseException as error:
                errors.append(error)
                abort()
                return
            num_seen = len(results)

    thread = threading.Thread(target=follow, name="raysys-training-progress", daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        stopped.set()
        thread.join()
    if errors:
        raise errors[0]
