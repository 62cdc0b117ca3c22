"""What TensorBoard shows of a training: `tensorboard --logdir DIR`."""

from pathlib import Path
from types import TracebackType
from typing import Self

from raysys.training.checkpoint import EpochResult, StepResult

STEPS_PER_EPOCH = 1_000
"""An epoch's length on the axis of what is told within it: every run has the same."""


class EventLog:
    """Writes a training's values: `epoch/...` by epoch, `step/...` by thousandths of an epoch."""

    def __init__(self, directory: Path) -> None:
        # Only who asks for it waits the tenths of a second that this import takes.
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(directory), flush_secs=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def on_epoch(self, result: EpochResult) -> None:
        """Write loss, validation metrics, learning rate and speed of an epoch."""
        self._write("epoch", result, result.epoch)
        for name, value in result.metrics.items():
            self._writer.add_scalar(f"epoch/{name}", value, result.epoch)

    def on_step(self, step: StepResult) -> None:
        """Write the same, but for metrics, of an epoch so far."""
        self._write("step", step, round(STEPS_PER_EPOCH * (step.epoch - 1 + step.share)))

    def _write(self, axis: str, told: EpochResult | StepResult, place: int) -> None:
        for name in ("loss", "learning_rate", "examples_per_s"):
            self._writer.add_scalar(f"{axis}/{name}", getattr(told, name), place)
