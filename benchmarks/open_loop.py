"""Send requests at a fixed rate, whether or not answers come: what wrk does not do.

    python benchmarks/open_loop.py HOST PORT ROUTE BODIES --rate 400 --seconds 60

Request number n is due n / rate seconds after the start. It leaves over a connection that waits for
nothing, or over a new one; where all `--connections` are busy it waits here, and its latency counts
from when it was due, so that a slow server is not spared what it causes. A connection that ends
before its answer is counted as broken, and another one takes its place.

Prints "begun", then one JSON line: for each outcome how many, its latencies in ms, how late its
requests left (`left_p99_ms`: what this process, or a lack of connections, adds to them), its first
and last second, and of failures in which second each was known.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_ANSWERS_S = 15.0


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._received = bytearray()
        self._due_s: float | None = None
        self._left_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due_s: float) -> None:
        assert self._transport is not None
        self._due_s, self._left_s = due_s, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._due_s is None:
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        if length is None or len(self._received) < end + 4 + int(length[1]):
            return
        body, self._received = bytes(self._received[end + 4 :]), bytearray()
        due_s, self._due_s = self._due_s, None
        head = head.lower()
        self._load.answered(_outcome(head, body), due_s, self._left_s)
        if b"\r\nconnection: close" in head:
            assert self._transport is not None
            self._transport.close()
        else:
            self._load.is_free(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._due_s is not None:
            self._load.answered("broken", self._due_s, self._left_s)
        self._load.is_gone(self)


class _Load:
    def __init__(self, host: str, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._address = host, port
        self._requests = requests
        self._most_connections = connections
        self._num_connections = 0
        self._free: deque[_Connection] = deque()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._began_s = 0.0
        self._found: dict[str, list[tuple[float, float, float]]] = {}
        """Of each outcome: when due, the seconds until it was known, and until it left."""
        self.num_sent = 0
        self.num_answered = 0

    async def run(self, rate: float, seconds: float) -> None:
        self._began_s = time.perf_counter()
        count = int(rate * seconds)
        for number in range(count):
            due_s = self._began_s + number / rate
            while (left_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(left_s)
            self._send(self._requests[number % len(self._requests)], due_s)
            if number % 16 == 0:
                await asyncio.sleep(0)
        patience_s = time.perf_counter() + _LAST_ANSWERS_S
        while self.num_answered < count and time.perf_counter() < patience_s:
            await asyncio.sleep(0.01)
        missing = count - self.num_answered
        if missing:
            self._found["no answer"] = [(seconds, _LAST_ANSWERS_S, 0.0)] * missing

    def _send(self, request: bytes, due_s: float) -> None:
        self.num_sent += 1
        if self._free:
            self._free.pop().ask(request, due_s)
            return
        self._waiting.append((request, due_s))
        self._connect_if_need_be()

    def _connect_if_need_be(self) -> None:
        if self._waiting and self._num_connections < self._most_connections:
            self._num_connections += 1
            task = asyncio.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), *self._address)
        except OSError:
            self._num_connections -= 1
            if self._waiting:
                due_s = self._waiting.popleft()[1]
                self.answered("no connection", due_s, due_s)
            return
        self.is_free(connection)

    def is_free(self, connection: _Connection) -> None:
        if self._waiting:
            connection.ask(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def is_gone(self, connection: _Connection) -> None:
        self._num_connections -= 1
        if connection in self._free:
            self._free.remove(connection)
        self._connect_if_need_be()

    def answered(self, outcome: str, due_s: float, left_s: float) -> None:
        now_s = time.perf_counter()
        self.num_answered += 1
        row = (due_s - self._began_s, now_s - due_s, left_s - due_s)
        self._found.setdefault(outcome, []).append(row)

    def report(self) -> dict[str, dict[str, Any]]:
        table: dict[str, dict[str, Any]] = {}
        for outcome, rows in sorted(self._found.items()):
            due_s, latencies_s, late_s = np.array(rows).T
            p50, p99 = np.percentile(latencies_s * 1000, [50, 99])
            table[outcome] = {
                "count": len(rows),
                "p50_ms": round(float(p50), 2),
                "p99_ms": round(float(p99), 2),
                "max_ms": round(float(latencies_s.max()) * 1000, 2),
                "left_p99_ms": round(float(np.percentile(late_s, 99)) * 1000, 2),
                "first_s": round(float(due_s.min()), 2),
                "last_s": round(float(due_s.max()), 2),
            }
            if not outcome.startswith(("200", "429")):
                told_s = Counter(int(each) for each in (due_s + latencies_s).tolist())
                table[outcome]["by_second"] = dict(sorted(told_s.items()))
        return table


def _outcome(head: bytes, body: bytes) -> str:
    """Return the status, with a word about what belongs to it; the head is in small letters."""
    status = head[9:12].decode()
    if status == "200":
        return "200 degraded" if b"\r\nx-raysys-degraded:" in head else "200"
    if status == "429":
        is_whole = b"\r\nx-amzn-errortype: throttlingexception" in head
        is_whole &= b"\r\nretry-after: " in head and body.startswith(b'{"message":')
        return "429" if is_whole else "429 malformed"
    name = re.search(rb"\r\nx-amzn-errortype: (\w+)", head)
    return f"{status} {name[1].decode()}" if name else f"{status} of no wire format"


async def _measure(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    head = (
        f"POST {arguments.route} HTTP/1.1\r\nHost: {arguments.host}:{arguments.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: "
    ).encode()
    bodies = arguments.bodies.read_bytes().splitlines()
    requests = [head + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    load = _Load(arguments.host, arguments.port, requests, arguments.connections)
    print("begun", flush=True)
    await load.run(arguments.rate, arguments.seconds)
    return load.report()


def main() -> None:
    """Measure, and end with one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("route")
    parser.add_argument("bodies", type=Path, help="one a line")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=512, help="at most")
    print(json.dumps(asyncio.run(_measure(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
