"""What a command shows: words and tables for people, one JSON line for programs."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from raysys.commands.progress_lines import ProgressLines
from raysys.errors import RaysysError

_WIDTH_OF_A_LOG = 120


class Advance(Protocol):
    """Called by a long step: how much is done now, of how much, and a word about it."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None: ...


class Console:
    """Where a command writes. With `as_json`, standard output holds nothing but the JSON line."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._out = rich.console.Console(stderr=as_json, highlight=False, soft_wrap=True)
        if not self._out.is_terminal:  # a file, such as the log of a job: it has no width to keep
            self._out.width = _WIDTH_OF_A_LOG
        self._progress = rich.console.Console(stderr=True, highlight=False)

    def say(self, *things: Any, style: str | None = None, markup: bool = False) -> None:
        """Print for people: text, or a table.

        With `markup`, [bold] and the like in a text are styles; what comes from a user, such as a
        path, must be escaped then, or brackets in it are lost.
        """
        self._out.print(*things, style=style, markup=markup)

    def verbatim(self, text: str) -> None:
        """Print text as it is: no markup, nothing wrapped, fit to be copied."""
        self._out.print(text, markup=False, no_wrap=True, overflow="ignore", crop=False)

    def step(self, text: str) -> None:
        """Print the headline of a step."""
        self._out.print(f"\n▸ {text}", style="bold", markup=False)

    @contextmanager
    def progress(self, label: str) -> Iterator[Advance]:
        """Show how far a block is, on standard error; the block calls what it is given.

        A bar where that is a terminal; lines where it is a file, such as the log of a job.
        """
        if not self._progress.is_terminal:
            lines = ProgressLines(label, lambda line: print(line, file=sys.stderr, flush=True))
            try:
                yield lines.advance
            finally:
                lines.end()
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._progress, transient=False) as bars:
            task = bars.add_task(label, total=None, note="")

            def advance(done: float, total: float | None = None, note: str = "") -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield advance

    def finish(self, result: Mapping[str, Any]) -> None:
        """Print the command's result as its JSON line, if one was asked for."""
        if self._as_json:
            print(json.dumps({"ok": True, **result}, allow_nan=False), flush=True)

    def fail(self, error: RaysysError) -> None:
        """Print why the command could not be done; the JSON line names the error's class."""
        message = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        message.print("[bold red]error:[/bold red]", end=" ")
        message.print(str(error), markup=False)
        if self._as_json:
            line = {"ok": False, "error": type(error).__name__, "message": str(error)}
            print(json.dumps(line), flush=True)
