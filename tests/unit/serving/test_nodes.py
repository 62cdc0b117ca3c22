"""Where a gateway on another node than the head listens."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.serve._private import replica
from ray.serve._private.http_util import start_asgi_http_server
from ray.serve.config import HTTPOptions

from raysys.serving.cluster import free_port
from raysys.serving.nodes import listen_for_proxy_of_head

NODE = "127.0.0.9"


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """This node, for as long as the test lasts; without the head's resource, so not the head."""
    node: dict[str, Any] = {"NodeID": "this", "Resources": {"CPU": 1.0}, "Alive": True}
    head = {"NodeID": "head", "Resources": {"node:__internal_head__": 1.0}, "Alive": True}
    context = SimpleNamespace(get_node_id=lambda: "this")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "nodes", lambda: [head, node])
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: NODE)
    monkeypatch.setattr(replica, "start_asgi_http_server", start_asgi_http_server)
    return node


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def start(port: int) -> Any:
    options = HTTPOptions(host="127.0.0.1", port=port, middlewares=[])
    loop = asyncio.get_running_loop()
    return await replica.start_asgi_http_server(hello, options, event_loop=loop)


async def answer(host: str, port: int) -> bytes:
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection(host, port)
            break
        except ConnectionRefusedError:  # the server has not come so far
            await asyncio.sleep(0.01)
    else:
        return b"nobody"
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = await reader.read()
    writer.close()
    await writer.wait_closed()
    return text


async def is_closed(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionError:  # refused, or reset by a server that is closing
        return True
    writer.close()
    await writer.wait_closed()
    return False


def test_a_gateway_answers_at_its_nodes_address_until_serve_stops_it() -> None:
    async def scenario() -> None:
        port = free_port()
        task, server = await start(port)
        assert b"hello" in await answer("127.0.0.1", port)
        assert b"hello" in await answer(NODE, port)
        server.should_exit = True
        await task
        while not await is_closed(NODE, port):
            await asyncio.sleep(0.01)

    listen_for_proxy_of_head()
    asyncio.run(scenario())


def test_on_the_head_nothing_but_loopback_is_opened(node: dict[str, Any]) -> None:
    async def scenario() -> None:
        port = free_port()
        task, server = await start(port)
        assert b"hello" in await answer("127.0.0.1", port)
        assert await is_closed(NODE, port)
        server.should_exit = True
        await task

    node["Resources"]["node:__internal_head__"] = 1.0
    listen_for_proxy_of_head()
    asyncio.run(scenario())


# Serve does not close the socket that it could not bind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_at_the_nodes_address_is_given_up_whole() -> None:
    async def scenario() -> None:
        with socket.socket() as other:
            other.bind((NODE, 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(RuntimeError, match="Failed to bind"):
                await start(port)
            while not await is_closed("127.0.0.1", port):
                await asyncio.sleep(0.01)

    listen_for_proxy_of_head()
    asyncio.run(scenario())
