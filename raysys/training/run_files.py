"""What a training run leaves in its storage, and where Ray Train's checkpoints lie.

STORAGE/
    run/            the checkpoints
    run.json        what is trained: settings and data. Another training is refused here
    progress.json   every epoch that has ended, and how far the one is that is learnt now
    model/          the model, once it is learnt
    results.json    every epoch's result, once the model is written
    failure.json    why the run cannot succeed, however often it is tried again
    refit/          the same again, of the run that learns from the validation part too
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raysys import errors
from raysys.errors import RaysysError, TrainingError
from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.place import Place

_RUN, _PROGRESS, _RESULTS, _FAILURE = "run.json", "progress.json", "results.json", "failure.json"
_MODEL, _REFIT = "model", "refit"
CHECKPOINTS = "run"
"""The directory for Ray Train's own files."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    results: list[EpochResult]
    """Of every epoch that has ended."""
    step: StepResult | None
    """The newest, of the epoch that is learnt now; None between two epochs."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run; all workers and the driver see the same place."""

    place: Place

    def claim(self, run: dict[str, Any]) -> None:
        """Make the place this run's, or go on with the run that it holds.

        Raises:
            TrainingError: it holds the run of other settings or other data.
        """
        found = self._read(_RUN)
        if found is not None and found != run:
            raise TrainingError(
                f"{self.place.name} holds a training with other settings or other data, and its "
                f"checkpoints do not fit this one. Choose another place for checkpoints, or remove "
                f"what is there."
            )
        self._write(_RUN, run)
        for name in (_PROGRESS, _RESULTS, _FAILURE, _MODEL):
            self.place.remove(name)

    def tell(self, progress: Progress) -> None:
        """Say how far the run is, instead of what was said before."""
        self._write(_PROGRESS, asdict(progress))

    def progress(self) -> Progress:
        """Return what `tell` was given last."""
        found = self._read(_PROGRESS)
        if found is None:
            return Progress([], None)
        step = None if found["step"] is None else StepResult(**found["step"])
        return Progress([EpochResult(**result) for result in found["results"]], step)

    def finish(self, model: Path, results: list[EpochResult]) -> None:
        """Bring the model, a directory of this node, and say what led to it."""
        self.place.below(_MODEL).send(model)
        self._write(_RESULTS, [asdict(result) for result in results])

    def fetch_model(self, directory: Path) -> list[EpochResult]:
        """Put the finished model into an empty directory; return what led to it.

        Raises:
            TrainingError: the run ended without it.
        """
        results = self._read(_RESULTS)
        if results is None:
            raise TrainingError(
                f"The training in {self.place.name} ended without a model. Its log is in the Ray "
                f"dashboard; the same call goes on from the newest checkpoint."
            )
        self.place.below(_MODEL).fetch(directory)
        return [EpochResult(**result) for result in results]

    def fail(self, error: RaysysError) -> None:
        """Say why no further try can succeed."""
        self._write(_FAILURE, {"error": type(error).__name__, "message": str(error)})

    def failure(self) -> RaysysError | None:
        """Return the error that `fail` was given, if it was."""
        named = self._read(_FAILURE)
        if named is None:
            return None
        error: RaysysError = getattr(errors, named["error"])(named["message"])
        return error

    def of_refit(self) -> "RunFiles":
        """Return those of the run that follows this one."""
        return RunFiles(self.place.below(_REFIT))

    def remove(self) -> None:
        """Remove all of this, and the checkpoints."""
        for name in (_RUN, _PROGRESS, _RESULTS, _FAILURE, _MODEL, _REFIT, CHECKPOINTS):
            self.place.remove(name)

    def _write(self, name: str, value: Any) -> None:
        self.place.write_text(name, json.dumps(value))

    def _read(self, name: str) -> Any:
        text = self.place.read_text(name)
        return None if text is None else json.loads(text)
