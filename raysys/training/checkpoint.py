"""Where a training stands after an epoch: enough to go on as if it had never stopped."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from raysys.errors import TrainingError


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch brought."""

    epoch: int
    """From 1."""
    loss: float
    """Weighted mean over the epoch's examples, in nats, dropout on."""
    metrics: dict[str, float]
    """Of validation, after the epoch; empty where there is none."""
    examples_per_s: float
    """Learnt, over all workers; validation not counted."""
    seconds: float
    """Of learning and validation."""
    learning_rate: float
    """Of its last step."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Where an epoch stands after a step."""

    epoch: int
    """From 1."""
    share: float
    """Of the epoch's examples that are learnt, (0, 1]."""
    loss: float
    """Weighted mean over the epoch's examples so far, in nats, dropout on."""
    examples_per_s: float
    """Learnt in this epoch so far, over all workers."""
    learning_rate: float
    """Of this step."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors are the training's own: save them before the next epoch, or take a copy."""

    weights: dict[str, Tensor]
    """Those that the next step changes, also where the model has their average meanwhile."""
    optimizer: dict[str, Any]
    """All else that the next step needs: the optimizer's state, and the average of the weights."""
    best_weights: dict[str, Tensor]
    results: list[EpochResult]
    """Of every epoch so far."""

    def copy(self) -> "Checkpoint":
        """Return one that the training does not change any more, in the memory of the CPU."""
        weights, optimizer, best_weights = (
            _copied(part) for part in (self.weights, self.optimizer, self.best_weights)
        )
        return Checkpoint(weights, optimizer, best_weights, list(self.results))

    def save(self, file: Path | IO[bytes]) -> None:
        """Write one file."""
        results = [asdict(result) for result in self.results]
        parts = (self.weights, self.optimizer, self.best_weights, results)
        torch.save(dict(zip(_PARTS, parts, strict=True)), file)

    @classmethod
    def load(cls, path: Path, *, device: torch.device | None = None) -> "Checkpoint":
        """Read what `save` wrote. Only tensors and plain values are ever unpickled.

        Raises:
            TrainingError: the file is missing or is not a checkpoint of this version.
        """
        try:
            parts = torch.load(path, map_location=device or "cpu", weights_only=True)
            weights, optimizer, best_weights, results = (parts[name] for name in _PARTS)
            return cls(weights, optimizer, best_weights, [EpochResult(**r) for r in results])
        except Exception as error:  # torch.load raises whatever the bytes lead it to
            raise TrainingError(
                f"Training cannot go on from {path}: it is not a whole checkpoint of this version "
                f"({error}). Start again without it."
            ) from error


def _copied(value: Any) -> Any:
    """Return a copy of nested dicts and lists with all tensors in them."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value


_PARTS = ("weights", "optimizer", "best_weights", "results")
