"""What every worker of a training is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raysys.config import PipelineConfig
from raysys.dataset.context import ContextEncoder
from raysys.dataset.event_types import EventTypes
from raysys.models.base import EmbeddingModel
from raysys.training.checkpoint import EpochResult
from raysys.training.run_files import RunFiles
from raysys.training.warm_start import WarmStart
from raysys.training.workers import MakeValidate


class Watcher(Protocol):
    """Follows a training from within worker 0, where it is sent to; so it must be picklable."""

    def keep(self, model: EmbeddingModel, results: list[EpochResult]) -> None:
        """Be called after each epoch, before it is told of, with every result so far."""

    def is_over(self, epoch: int) -> bool:
        """Say, once an epoch was told of, whether the training is to end there."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training. Paths are absolute: workers run in directories of their own."""

    shards: list[Path]
    items: Path
    users: Path
    event_types: EventTypes
    context: ContextEncoder
    features: Path | None
    """A directory of `FeatureTables`; nothing is known where there is none."""
    config: PipelineConfig
    files: RunFiles
    make_validate: MakeValidate | None
    watcher: Watcher | None
    warm_start: WarmStart | None
    refit_epochs: int | None = None
    """Learn for so many epochs, from the validation part too; None: validation chooses."""
