"""How far a run is, told by the worker that knows and heard by the process that waits for it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.run_files import Progress, RunFiles

_TELL_PAUSE_S = 1.0
_POLL_PAUSE_S = 0.2
_SHARE_OF_TIME = 0.02  # that telling and polling may take, where the storage is slow


class Teller:
    """Writes down each epoch, and now and then how far within one the run is.

    Args:
        results: of the epochs before, where the run goes on from a checkpoint.
    """

    def __init__(
        self,
        files: RunFiles,
        results: list[EpochResult],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._results = results
        self._now = now
        self._next_at = now() + _TELL_PAUSE_S

    def on_step(self, step: StepResult) -> None:
        """Tell of a step, if the last word was long ago."""
        if self._now() >= self._next_at:
            self._tell(step)

    def on_epoch(self, results: list[EpochResult]) -> None:
        """Tell of an epoch that ended, the last of those so far."""
        self._results = results
        self._tell(None)

    def _tell(self, step: StepResult | None) -> None:
        began = self._now()
        self._files.tell(Progress(self._results, step))
        ended = self._now()
        self._next_at = ended + max(_TELL_PAUSE_S, (ended - began) / _SHARE_OF_TIME)


@contextmanager
def followed(
    files: RunFiles,
    on_epoch: Callable[[EpochResult], None],
    on_step: Callable[[StepResult], None],
    abort: Callable[[], None],
) -> Iterator[list[BaseException]]:
    """Call `on_epoch` for each epoch that ends in the block, and `on_step` for the newest step now
    and then; what they raise ends the training.
    """
    stopped = threading.Event()
    errors: list[BaseException] = []

    def follow() -> None:
        heard = _Heard(files, on_epoch, on_step)
        pause, is_last = _POLL_PAUSE_S, False
        while not is_last:
            is_last = stopped.wait(pause)
            began = time.monotonic()
            try:
                heard.poll()
            except BaseException as error:
                errors.append(error)
                abort()
                return
            pause = max(_POLL_PAUSE_S, (time.monotonic() - began) / _SHARE_OF_TIME)

    thread = threading.Thread(target=follow, name="raysys-training-progress", daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        stopped.set()
        thread.join()
    if errors:
        raise errors[0]


class _Heard:
    """What was passed on before, so that only news is."""

    def __init__(
        self,
        files: RunFiles,
        on_epoch: Callable[[EpochResult], None],
        on_step: Callable[[StepResult], None],
    ) -> None:
        self._files = files
        self._on_epoch = on_epoch
        self._on_step = on_step
        self._last = Progress([], None)

    def poll(self) -> None:
        progress = self._files.progress()
        pairs = zip(progress.results, self._last.results, strict=False)
        # Where workers died, some epochs are learnt again: they are news.
        num_known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        for result in progress.results[num_known:]:
            self._on_epoch(result)
        if progress.step is not None and progress.step != self._last.step:
            self._on_step(progress.step)
        self._last = progress
