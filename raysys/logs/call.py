"""What one task does, apart from where it runs: here, or as a task of Ray (`raysys.logs.calls`).

What travels is small: a call holds paths and numbers, a report holds what one task has found. Rows
go through storage, which all nodes must share.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from raysys.errors import DatasetError


class Call(Protocol):
    """What one task does. It crosses to another process, so it holds paths and numbers only."""

    def run(self) -> Iterator[object]:
        """Yield reports, each of which leaves the task at once."""


RunCalls = Callable[[Sequence[Call]], Iterator[Any]]
"""Runs calls and yields what they yield: `run_calls`, or where no Ray is wanted `run_here`."""


def run_here(calls: Sequence[Call]) -> Iterator[Any]:
    """Run each call in this process, in order, without Ray; errors are those of `run_calls`."""
    for call in calls:
        try:
            yield from call.run()
        except OSError as error:
            raise failed(error) from error


def failed(error: OSError) -> DatasetError:
    """Return what an OSError of a call means; of reading a source it would be a SourceError."""
    return DatasetError(
        f"Files of the dataset could not be written or read, so nothing was published: {error}. If "
        f"the disk is full, make room and run it again."
    )
