"""What is shown of a training while it runs: a bar that moves within epochs, and TensorBoard."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raysys.commands.console import Advance, Console
from raysys.config import PipelineConfig
from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.event_log import EventLog


class TrainingProgress:
    """Takes what a training tells, and shows it.

    Args:
        metric: the one of validation that chooses the best epoch.
        event_log: what writes for TensorBoard; None: nothing does.
    """

    def __init__(
        self, advance: Advance, max_epochs: int, metric: str, event_log: EventLog | None
    ) -> None:
        self._advance = advance
        self._max_epochs = max_epochs
        self._metric = metric
        self._event_log = event_log
        self._validation = ""
        advance(0, max_epochs, "workers start")

    def on_epoch(self, result: EpochResult) -> None:
        """Show an epoch that ended."""
        if self._metric in result.metrics:
            self._validation = f", {self._metric} {result.metrics[self._metric]:.4f}"
        self._show(result.epoch, result)
        if self._event_log is not None:
            self._event_log.on_epoch(result)

    def on_step(self, step: StepResult) -> None:
        """Show how far an epoch is, beside the validation of the one before."""
        self._show(step.epoch - 1 + step.share, step)
        if self._event_log is not None:
            self._event_log.on_step(step)

    def on_refit(self, share: float) -> None:
        """Show how far the model is that is learnt once more."""
        words = f"refit on validation too{self._validation}"
        self._advance(share * self._max_epochs, self._max_epochs, words)

    def _show(self, done: float, told: EpochResult | StepResult) -> None:
        words = f"loss {told.loss:.3f}{self._validation}, {told.examples_per_s:,.0f}/s"
        self._advance(done, self._max_epochs, words)


@contextmanager
def training_shown(
    console: Console, config: PipelineConfig, tensorboard: Path | None
) -> Iterator[TrainingProgress]:
    """Show a training that runs in the block.

    Args:
        tensorboard: a directory for what TensorBoard shows; None: nothing is written.
    """
    with contextlib.ExitStack() as stack:
        event_log = None if tensorboard is None else stack.enter_context(EventLog(tensorboard))
        advance = stack.enter_context(console.progress("training"))
        yield TrainingProgress(
            advance, config.training.max_epochs, config.evaluation.metric_name, event_log
        )
