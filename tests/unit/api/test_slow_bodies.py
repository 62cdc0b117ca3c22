"""Clients that are slow, or never done, cost little and keep nobody else waiting."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from raysys.api import bodies
from raysys.api.asgi import Application, Message
from tests.unit.api.client import CONFIG, FakeEngine, application

QUESTION = b'{"userId": "ann"}'
LIMIT, TIMEOUT_S = CONFIG.max_body_bytes, CONFIG.body_timeout_s
Receive = Callable[[], Awaitable[Message]]


class Clock:
    """Lets the loop believe that time has passed."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        loop.time = lambda: real() + self._skipped_s  # type: ignore[method-assign]

    def pass_by(self, seconds: float) -> None:
        self._skipped_s += seconds


def within(scenario: Callable[[Clock], Awaitable[None]]) -> None:
    """Run a scenario in which time passes as the clock says, beside its own."""

    async def whole() -> None:
        await scenario(Clock())

    asyncio.run(whole())


def piece(body: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def pieces(*messages: Message, then: asyncio.Event | None = None) -> Receive:
    """Return what gives messages, and then waits for the event, or for ever."""
    waiting = [*messages]

    async def receive() -> Message:
        if len(waiting) <= 1 and then is not None:
            await then.wait()
        if not waiting:
            await asyncio.Event().wait()
        await asyncio.sleep(0)  # as servers do between two reads
        return waiting.pop(0)

    return receive


async def answered(app: Application, receive: Receive) -> tuple[int, dict[str, str]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/recommendations", "headers": []}
    await app(scope, receive, send)
    start, _ = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}


@pytest.mark.parametrize("begun", [(), (piece(),), (piece(b'{"user'),)], ids=["0", "1", "2"])
def test_a_body_that_never_ends_gets_an_answer_that_says_so(begun: tuple[Message, ...]) -> None:
    engine = FakeEngine()

    async def scenario(clock: Clock) -> None:
        request = asyncio.create_task(answered(application(engine), pieces(*begun)))
        for seconds in (0, TIMEOUT_S - 1):
            clock.pass_by(seconds)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not request.done()
        clock.pass_by(2)
        status, headers = await request
        assert (status, headers["x-amzn-errortype"]) == (408, "RequestTimeoutException")
        assert headers["connection"] == "close"

    within(scenario)
    assert engine.refusals == ["RequestTimeoutException"]
    assert engine.queries == []


def test_the_time_is_that_of_the_whole_body_not_of_a_piece() -> None:
    async def scenario(clock: Clock) -> None:
        num_pieces = 0

        async def drip() -> Message:
            nonlocal num_pieces
            num_pieces += 1
            clock.pass_by(TIMEOUT_S / 4)
            await asyncio.sleep(0)
            return piece(b" ")

        status, _ = await answered(application(FakeEngine()), drip)
        assert (status, num_pieces) == (408, 5)

    within(scenario)


def test_a_body_that_comes_byte_by_byte_is_read_and_takes_its_own_size() -> None:
    body = QUESTION + b" " * (4096 - len(QUESTION))
    messages = [piece(body[at : at + 2]) for at in range(0, len(body), 2)] + [piece(more=False)]
    engine, may_end = FakeEngine(), asyncio.Event()

    async def scenario() -> None:
        request = asyncio.create_task(
            answered(application(engine), pieces(*messages, then=may_end))
        )
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2 * len(messages)):
            await asyncio.sleep(0)
        assert not request.done()
        assert tracemalloc.get_traced_memory()[0] - before < 3 * len(body)
        may_end.set()
        assert (await request)[0] == 200

    tracemalloc.start()
    try:
        asyncio.run(scenario())
    finally:
        tracemalloc.stop()
    assert engine.queries[0].user_id == "ann"


def test_hundreds_of_slow_clients_keep_nobody_waiting_and_leave_nothing_behind() -> None:
    engine = FakeEngine()
    app = application(engine)
    left: list[int] = []

    async def scenario(clock: Clock) -> None:
        for _ in range(3):
            slow = [
                asyncio.create_task(answered(app, pieces(piece(b" " * 100)))) for _ in range(500)
            ]
            for _ in range(4):
                await asyncio.sleep(0)
            assert app._bodies._num_unfinished_bytes == 50_000
            assert (await answered(app, pieces(piece(QUESTION, more=False))))[0] == 200
            assert not any(each.done() for each in slow)
            clock.pass_by(TIMEOUT_S)
            assert {status for status, _ in await asyncio.gather(*slow)} == {408}
            assert app._bodies._num_unfinished_bytes == 0
            slow.clear()
            engine.refusals.clear()
            gc.collect()
            left.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        within(scenario)
    finally:
        tracemalloc.stop()
    assert max(left[1:]) - left[0] < 100_000  # the loop keeps what the latest clients were told


def test_all_unfinished_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_MOST_UNFINISHED_BYTES", 3 * LIMIT)
    engine, may_end = FakeEngine(), asyncio.Event()
    app = application(engine)
    half, spaces = QUESTION + b" " * (LIMIT // 2 - len(QUESTION)), b" " * (LIMIT // 2)

    async def scenario() -> None:
        slow = [
            asyncio.create_task(
                answered(app, pieces(piece(half), piece(spaces), piece(more=False), then=may_end))
            )
            for _ in range(10)
        ]
        for _ in range(20):
            await asyncio.sleep(0)
            assert app._bodies._num_unfinished_bytes <= 3 * LIMIT
        # Whoever sends at once is not counted among them.
        assert (await answered(app, pieces(piece(half, more=False))))[0] == 200
        may_end.set()
        found = [status for status, _ in await asyncio.gather(*slow)]
        assert found.count(200) == 3
        assert found.count(429) == 7
        assert app._bodies._num_unfinished_bytes == 0
        assert (await answered(app, pieces(piece(half), piece(spaces, more=False))))[0] == 200

    asyncio.run(scenario())


def test_clients_that_hang_up_in_the_middle_leave_nothing_behind() -> None:
    app = application(FakeEngine())

    async def scenario() -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/events", "headers": []}
        await app(scope, pieces(piece(b" "), {"type": "http.disconnect"}), send)
        request = asyncio.create_task(app(scope, pieces(piece(b" "), piece(b" ")), send))
        for _ in range(8):
            await asyncio.sleep(0)
        assert app._bodies._num_unfinished_bytes == 2
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert app._bodies._num_unfinished_bytes == 0
        assert sent == []

    asyncio.run(scenario())
