"""The real HAProxy, started as Serve starts it, before a server of ours: clients that misbehave."""

import http.server
import json
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from raysys.serving.cluster import free_port
from raysys.serving.haproxy import max_connections, write_wrapper

# As Serve's own, in what matters for the number of files that HAProxy opens and for its patience.
CONFIG = """global
    maxconn {connections}
defaults
    mode http
    option splice-request
    option splice-response
    timeout connect 5s
    timeout client 300ms
    timeout server 5s
    timeout http-keep-alive 5s
    errorfile 502 {plain_error}
    errorfile 503 {plain_error}
    errorfile 504 {plain_error}
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend nobody if {{ path /nobody }}
    use_backend default_backend if {{ path /nowhere }}
    use_backend app-of-little-patience if {{ path /late }}
    default_backend app
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \'%[path]\' not found."
backend app
    server one 127.0.0.1:{server_port}
backend app-of-little-patience
    timeout server 100ms
    server one 127.0.0.1:{server_port}
backend nobody
    server one 127.0.0.1:1
"""
NUM_SLOW = 300
SLOWER_THAN_CLIENTS_MAY_BE_S = 0.6


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/dies":
            return  # without a word
        time.sleep(SLOWER_THAN_CLIENTS_MAY_BE_S)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """HAProxy waits for nobody: what it does not take any more is no error here."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """That of an HAProxy with 300 ms of patience where it has seconds."""
    directory, port = tmp_path_factory.mktemp("haproxy"), free_port()
    wrapper = write_wrapper(directory)
    text = wrapper.read_text()
    assert "timeout http-request 10s" in text
    wrapper.write_text(text.replace("timeout http-request 10s", "timeout http-request 300ms"))
    server = Server(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever).start()
    config = directory / "haproxy.cfg"
    plain_error = directory / "500.http"
    plain_error.write_text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    numbers = {"connections": max_connections(), "server_port": server.server_port}
    config.write_text(CONFIG.format(port=port, plain_error=plain_error, **numbers))
    with subprocess.Popen([str(wrapper), "-db", "-f", str(config)]) as proxy:
        try:
            wait_for(port)
            yield port
        finally:
            proxy.terminate()
            server.shutdown()
            server.server_close()


def connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            connection(port).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def refused_with(client: socket.socket) -> bytes:
    """Return the status line of what a client gets before its connection ends."""
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received.partition(b"\r\n")[0]


def test_who_sends_the_head_of_a_request_slowly_is_refused_and_others_are_served(port: int) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(port)) for _ in range(NUM_SLOW)]
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nHost: raysys\r\nX-Slow: ")
        reply = httpx.get(f"http://127.0.0.1:{port}/", timeout=20, trust_env=False)
        assert (reply.status_code, reply.json()) == (200, {})
        for client in slow:
            assert refused_with(client) == b"HTTP/1.1 408 Request Time-out"


def test_a_giant_head_is_refused(port: int) -> None:
    with connection(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: raysys\r\nX-Giant: " + b"g" * 20_000)
        assert refused_with(client) == b"HTTP/1.1 400 Bad request"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "UnknownOperationException"),
        ("/dies", 502, "InternalFailure"),
        ("/nobody", 503, "ServiceUnavailableException"),
        ("/late", 504, "ServiceUnavailableException"),
    ],
)
def test_what_haproxy_answers_for_gateways_is_in_the_wire_format(
    path: str, status: int, code: str, port: int
) -> None:
    reply = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=20, trust_env=False)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (status, code)
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == ["message"]
    assert reply.headers.get("retry-after") == ("1" if status == 503 else None)


def test_a_body_that_stops_on_its_way_is_refused_in_the_wire_format(port: int) -> None:
    with connection(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: raysys\r\nContent-Length: 10\r\n\r\n{")
        client.settimeout(20)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-amzn-errortype: InvalidInputException" in head.split(b"\r\n")
    assert "The body did not arrive" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("most_files", "connections"),
    [(resource.RLIM_INFINITY, 10_000), (1 << 20, 10_000), (20_000, 7_600), (1_024, 100)],
)
def test_haproxy_has_no_more_clients_than_it_may_open_files_for(
    most_files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most_files, most_files))
    assert max_connections() == connections
