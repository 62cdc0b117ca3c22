"""Micro-batches: requests that wait at the same time travel together, and none waits for others."""

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from raysys.errors import TooManyRequestsError
from raysys.serving.deadline import DEADLINE

# Requests that reached the socket while a batch ran take this many turns of the loop to be read, to
# become tasks and to be submitted. Letting them come along makes the next batch the larger.
_TURNS_AFTER_A_BATCH = 4

AskedT = TypeVar("AskedT")
GivenT = TypeVar("GivenT")


class _Waiting(NamedTuple, Generic[AskedT, GivenT]):
    asked: AskedT
    given: asyncio.Future[GivenT]
    arrived_at_s: float


class Batcher(Generic[AskedT, GivenT]):
    """Collects what is submitted from one event loop into batches.

    A batch starts as soon as no other one runs, with everything that waits then. So a lone request
    starts at once, and under load the batches grow by themselves. Beside a running batch only full
    ones start: two halves would cost two calls to every part where one does the work of both.

    Args:
        run: answers a batch, one result per element, in order. When it raises, every element of the
            batch raises.
        max_in_flight: batches that run at the same time.
        max_queued: elements that may wait.
        deadline_s: an element that has waited longer when its batch starts is refused, and what is
            done for a batch can look at `DEADLINE`, which is that of its first element.
        on_batch: told on the loop after each batch: its results (None where it failed), its size,
            and of its first element, which waited longest, the seconds from its arrival until the
            batch started and until it ended. It must return at once and not raise.
    """

    def __init__(
        self,
        run: Callable[[list[AskedT]], Awaitable[Sequence[GivenT]]],
        *,
        max_batch_size: int,
        max_in_flight: int,
        max_queued: int,
        deadline_s: float = math.inf,
        on_batch: Callable[[Sequence[GivenT] | None, int, float, float], None] | None = None,
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_in_flight = max_in_flight
        self._max_queued = max_queued
        self._deadline_s = deadline_s
        self._on_batch = on_batch
        self.num_refused = 0
        """Elements that found the queue full or waited too long, since the beginning."""
        self._queue: deque[_Waiting[AskedT, GivenT]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._turns_until_start = 0
        """Turns of the loop until a batch starts; 0 while none is to start."""

    async def submit(self, asked: AskedT) -> GivenT:
        """Return the result for one element.

        Raises:
            TooManyRequestsError: the queue is full, or it waited too long.
        """
        if len(self._queue) >= self._max_queued:
            self.num_refused += 1
            raise TooManyRequestsError(
                f"{len(self._queue)} requests wait already, which is all that this server lets "
                f"wait. Try again later, or raise max_queued_requests or num_gateways."
            )
        loop = asyncio.get_running_loop()
        given: asyncio.Future[GivenT] = loop.create_future()
        self._queue.append(_Waiting(asked, given, loop.time()))
        self._start_after(turns=1)  # whatever else arrives in this turn comes along
        return await given

    def _start_after(self, turns: int) -> None:
        """Start what can start, some turns of the loop from now. Nobody waits for a clock."""
        if not self._turns_until_start and self._can_start():
            self._turns_until_start = turns
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns_until_start -= 1
        if self._turns_until_start:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._start()

    def _can_start(self) -> bool:
        if not self._in_flight:
            return bool(self._queue)
        is_full = len(self._queue) >= self._max_batch_size
        return is_full and len(self._in_flight) < self._max_in_flight

    def _start(self) -> None:
        self._refuse_late()
        while self._can_start():
            size = min(len(self._queue), self._max_batch_size)
            batch = [self._queue.popleft() for _ in range(size)]
            # In a context of its own: what a server hangs on one request's context (Serve cancels
            # calls by it when a client goes away) must not reach the others of its batch.
            task = asyncio.get_running_loop().create_task(
                self._answer(batch), context=contextvars.Context()
            )
            self._in_flight.add(task)
            task.add_done_callback(self._finish)

    def _refuse_late(self) -> None:
        """Refuse those whose time is over: their clients are about to give up, others are not."""
        oldest_s = asyncio.get_running_loop().time() - self._deadline_s
        while self._queue and self._queue[0].arrived_at_s < oldest_s:
            late = self._queue.popleft()
            self.num_refused += 1
            if not late.given.done():
                late.given.set_exception(
                    TooManyRequestsError(
                        f"The request waited for more than {self._deadline_s:g} s, so it was not "
                        f"answered. Try again later, or raise deadline_s or num_gateways."
                    )
                )

    async def _answer(self, batch: list[_Waiting[AskedT, GivenT]]) -> None:
        loop, arrived_at_s = asyncio.get_running_loop(), batch[0].arrived_at_s
        queued_s = loop.time() - arrived_at_s
        DEADLINE.set(arrived_at_s + self._deadline_s)  # in this batch's own context
        try:
            results = await self._run([waiting.asked for waiting in batch])
        except BaseException as error:
            for waiting in batch:
                if not waiting.given.done():
                    _fail(waiting.given, error)
            if not isinstance(error, Exception):
                raise
            self._tell(None, batch, queued_s)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.given.done():  # else the request was cancelled: nobody waits
                waiting.given.set_result(result)
        self._tell(results, batch, queued_s)

    def _tell(
        self,
        results: Sequence[GivenT] | None,
        batch: list[_Waiting[AskedT, GivenT]],
        queued_s: float,
    ) -> None:
        if self._on_batch is not None:
            seconds = asyncio.get_running_loop().time() - batch[0].arrived_at_s
            self._on_batch(results, len(batch), queued_s, seconds)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._start_after(turns=_TURNS_AFTER_A_BATCH)


def _fail(given: asyncio.Future[GivenT], error: BaseException) -> None:
    if isinstance(error, Exception):
        given.set_exception(error)
    else:  # the loop is ending
        given.cancel()
