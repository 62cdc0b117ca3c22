"""How much of an import is done, from what its tasks report."""

from collections.abc import Sequence
from typing import Protocol

from raysys.logs.source import Source
from raysys.logs.tasks import Progress, SourceReport


class OnProgress(Protocol):
    """Told now and then how many rows are done, and of how many there probably are."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None: ...


class ImportProgress:
    """Turns what tasks report into how much is done. Rows to come are guessed from bytes."""

    def __init__(self, sources: Sequence[Source], on_progress: OnProgress | None) -> None:
        self._num_bytes = sum(source.num_bytes for source in sources)
        self._on_progress = on_progress
        self._latest: dict[tuple[int, int], Progress] = {}
        self._to_read = f"{len(sources)} files"
        self._num_finished = 0

    def expect(self, num_pieces: int) -> None:
        """Take how many pieces the files are read in."""
        self._to_read = f"{num_pieces} pieces of files"

    def follow(self, report: object) -> None:
        """Take what a task reported; only what is read counts."""
        if isinstance(report, SourceReport):
            self._num_finished += 1
        if isinstance(report, Progress):
            self._latest[report.source_file, report.piece] = report
        if isinstance(report, Progress | SourceReport):
            self._tell(f"{self._num_finished} of {self._to_read}")

    def note(self, note: str) -> None:
        """Tell a word about what comes after reading."""
        self._tell(note, is_read=True)

    def _tell(self, note: str, *, is_read: bool = False) -> None:
        rows = sum(progress.rows for progress in self._latest.values())
        num_bytes = sum(progress.bytes_read for progress in self._latest.values())
        is_known = is_read or num_bytes == 0
        total = rows if is_known else max(rows, round(rows * self._num_bytes / num_bytes))
        if self._on_progress is not None:
            self._on_progress(rows, total, note)
