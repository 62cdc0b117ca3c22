"""Calls that run as tasks of Ray Data: each one goes to a worker, its reports come back."""

import contextlib
import functools
import logging
import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray
import ray.data

from raysys.errors import RaysysError
from raysys.logs.call import Call, RunCalls, failed, run_here
from raysys.placement import wanted_labels
from raysys.precedence import LEARNING, let_others_go_first


def run_calls(calls: Sequence[Call]) -> Iterator[Any]:
    """Run each call as one task, and yield what they yield, as it comes.

    Raises:
        RaysysError: of a call, as it raised it; no traceback of Ray surrounds it.
        DatasetError: a call could not read or write a file.
    """
    if not calls:
        return  # Ray Data has no data set of no blocks
    # Closed here, so that Ray Data ends its tasks now, and not when an error that somebody keeps
    # goes: its threads would call a Ray that may be shut down by then, and so start another one.
    with _quiet(), contextlib.closing(_reports_of(calls)) as reports:
        for report in reports:
            if isinstance(report, RaysysError):
                raise report
            yield report


def _reports_of(calls: Sequence[Call]) -> Generator[Any, None, None]:
    rows = [{"call": pickle.dumps(call)} for call in calls]
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False  # ours counts rows of logs, theirs would count reports
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # a report leaves its task at once, not when it ends
    context.execution_options.label_selector = wanted_labels()
    with ray.data.DataContext.current(context):
        reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _perform, batch_size=1, batch_format="pyarrow"
        )
    for row in reports.iter_rows():
        yield pickle.loads(row["report"])


def runner() -> RunCalls:
    """Return what runs calls side by side where this process is connected to Ray, else here."""
    return run_calls if ray.is_initialized() else run_here


@functools.cache
def _give_way() -> None:
    """Let what serves on this machine go first, once in each worker."""
    let_others_go_first(LEARNING)


def _perform(batch: pa.Table) -> Iterator[pa.Table]:
    """Run the calls of a batch; an error of ours is a report too."""
    _give_way()
    for call in batch.column("call").to_pylist():
        try:
            for report in pickle.loads(call).run():
                yield pa.table({"report": [pickle.dumps(report)]})
        except RaysysError as error:
            yield pa.table({"report": [pickle.dumps(error)]})
        except OSError as error:
            yield pa.table({"report": [pickle.dumps(failed(error))]})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray Data's notes on its executions off the terminal; its log file gets them all."""
    handlers = [
        handler
        for handler in logging.getLogger("ray.data").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
