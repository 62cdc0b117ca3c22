"""The law of micro-batches. Run: pytest tests/unit/serving/test_batcher.py"""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.errors import TooManyRequestsError
from raysys.serving.batcher import Batcher
from raysys.serving.deadline import DEADLINE


class Recorder:
    """Answers each number with its square, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await self.gate.wait()
        self._in_flight -= 1
        if -1 in numbers:
            raise ValueError("a bad batch")
        return [number**2 for number in numbers]


def batcher(recorder: Recorder, size: int = 8, slots: int = 2, queued: int = 100) -> Batcher:
    return Batcher(recorder.run, max_batch_size=size, max_in_flight=slots, max_queued=queued)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 200), size=st.integers(1, 40), slots=st.integers(1, 4))
def test_what_arrives_together_travels_in_as_few_batches_as_fit(
    count: int, size: int, slots: int
) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batches = batcher(recorder, size, slots, queued=count)
        results = await asyncio.gather(*(batches.submit(number) for number in range(count)))
        assert results == [number**2 for number in range(count)]
        assert len(recorder.batches) == math.ceil(count / size)
        assert [number for batch in recorder.batches for number in batch] == list(range(count))
        assert recorder.most_in_flight <= slots

    run(scenario)


def test_one_request_starts_at_once() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        task = asyncio.ensure_future(batcher(recorder).submit(3))
        for _ in range(3):  # turns of the loop: submit, start, run; no clock is involved
            await asyncio.sleep(0)
        assert recorder.batches == [[3]]
        recorder.gate.set()
        assert await task == 9

    run(scenario)


def test_what_waits_while_a_batch_runs_travels_together() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        batches = batcher(recorder, size=8, slots=2)
        tasks = [asyncio.ensure_future(batches.submit(0))]
        while not recorder.batches:
            await asyncio.sleep(0)
        tasks += [asyncio.ensure_future(batches.submit(number)) for number in range(1, 8)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert recorder.batches == [[0]]  # 7 are no full batch: they wait
        tasks.append(asyncio.ensure_future(batches.submit(8)))
        while len(recorder.batches) == 1:
            await asyncio.sleep(0)
        assert recorder.batches == [[0], [*range(1, 9)]]  # 8 are: nobody waits for the first
        tasks += [asyncio.ensure_future(batches.submit(number)) for number in range(9, 20)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(recorder.batches) == 2  # both slots are taken
        recorder.gate.set()
        await asyncio.gather(*tasks)
        assert recorder.batches[2:] == [[*range(9, 17)], [17, 18, 19]]

    run(scenario)


def test_a_full_queue_refuses_and_takes_again_once_it_has_room() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        batches = batcher(recorder, size=1, slots=1, queued=2)
        tasks = [asyncio.ensure_future(batches.submit(0))]
        while not recorder.batches:
            await asyncio.sleep(0)
        tasks += [asyncio.ensure_future(batches.submit(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError, match="2 requests wait already"):
            await batches.submit(3)
        recorder.gate.set()
        await asyncio.gather(*tasks)
        assert await batches.submit(4) == 16

    run(scenario)


def test_a_batch_that_fails_fails_for_its_own_and_for_nobody_else() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        batches = batcher(recorder, size=2, slots=1)
        results = await asyncio.gather(
            *(batches.submit(number) for number in (-1, 5, 6)), return_exceptions=True
        )
        assert [type(result) for result in results] == [ValueError, ValueError, int]

    run(scenario)


def test_a_request_that_is_cancelled_leaves_the_others_of_its_batch_alone() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        batches = batcher(recorder)
        gone, stays = (asyncio.ensure_future(batches.submit(number)) for number in (2, 3))
        while not recorder.batches:
            await asyncio.sleep(0)
        gone.cancel()
        recorder.gate.set()
        assert await stays == 9
        assert recorder.batches == [[2, 3]]

    run(scenario)


def test_a_batch_does_not_see_what_hangs_on_one_request() -> None:
    request = contextvars.ContextVar("request", default="none")
    seen = []

    async def answer(numbers: list[int]) -> list[int]:
        seen.append(request.get())
        return numbers

    async def scenario() -> None:
        request.set("the first")
        await Batcher(answer, max_batch_size=1, max_in_flight=1, max_queued=1).submit(1)

    run(scenario)
    assert seen == ["none"]


def test_each_batch_is_told_with_its_results_or_none_where_it_failed() -> None:
    async def scenario() -> None:
        recorder, told = Recorder(), []
        batches: Batcher = Batcher(
            recorder.run,
            max_batch_size=2,
            max_in_flight=1,
            max_queued=3,
            on_batch=lambda results, size, *_: told.append((results, size)),
        )
        numbers = [2, 3, -1, 4]  # the fourth finds the queue full
        await asyncio.gather(*(batches.submit(n) for n in numbers), return_exceptions=True)
        assert told == [([4, 9], 2), (None, 1)]
        assert batches.num_refused == 1

    run(scenario)


def test_a_batch_is_told_how_long_its_first_element_waited_in_the_queue_as_well() -> None:
    async def scenario() -> None:
        recorder, seconds = Recorder(), []
        batches: Batcher = Batcher(
            recorder.run,
            max_batch_size=8,
            max_in_flight=1,
            max_queued=8,
            on_batch=lambda results, size, *waited: seconds.append(waited),
        )
        recorder.gate.clear()
        running = asyncio.create_task(batches.submit(1))
        while not recorder.batches:
            await asyncio.sleep(0)
        arrived_at_s = time.perf_counter()
        waiting = asyncio.create_task(batches.submit(2))
        while time.perf_counter() < arrived_at_s + 0.05:
            await asyncio.sleep(0)
        recorder.gate.set()
        await asyncio.gather(running, waiting)
        queued_s, total_s = seconds[1]
        assert 0.05 <= queued_s <= total_s

    run(scenario)


def test_what_has_waited_past_its_deadline_is_refused_and_the_others_go_on() -> None:
    async def scenario() -> None:
        recorder, now_s = Recorder(), [100.0]
        asyncio.get_running_loop().time = lambda: now_s[0]  # type: ignore[method-assign]
        batches: Batcher = Batcher(
            recorder.run, max_batch_size=1, max_in_flight=1, max_queued=9, deadline_s=5
        )
        recorder.gate.clear()
        running = asyncio.create_task(batches.submit(1))
        while not recorder.batches:
            await asyncio.sleep(0)
        late = asyncio.create_task(batches.submit(2))
        await asyncio.sleep(0)
        now_s[0] += 5.5
        timely = asyncio.create_task(batches.submit(3))
        await asyncio.sleep(0)
        recorder.gate.set()
        with pytest.raises(TooManyRequestsError, match="more than 5 s"):
            await late
        assert await asyncio.gather(running, timely) == [1, 9]
        assert recorder.batches == [[1], [3]]
        assert batches.num_refused == 1

    run(scenario)


def test_a_batch_knows_the_deadline_of_its_first_element() -> None:
    async def scenario() -> None:
        deadlines = []

        async def note(numbers: list[int]) -> list[int]:
            deadlines.append(DEADLINE.get() - asyncio.get_running_loop().time())
            return numbers

        batches: Batcher = Batcher(
            note, max_batch_size=8, max_in_flight=1, max_queued=9, deadline_s=100
        )
        await batches.submit(1)
        assert 90 < deadlines[0] <= 100
        assert math.isinf(DEADLINE.get())  # nobody else's

    run(scenario)
