"""raysys listens beyond loopback only where it knows who asks."""

from types import SimpleNamespace
from typing import get_args

import pytest
import ray
import ray.serve.context

from raysys.config import Authentication
from raysys.errors import ServingError
from raysys.serving.listen import check_listen_address, reachable
from raysys.serving.nodes import check_database, check_proxy_address, gateway_hosts

LOOPBACK = ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"]
OUTSIDE = ["0.0.0.0", "::", "", None, "10.0.0.7", "example.org", "localhost.example.org", "*"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_allowed_whether_or_not_keys_are_asked_for(host: str) -> None:
    for authentication in get_args(Authentication):
        check_listen_address(host, authentication)
    assert reachable([host]) is None


@pytest.mark.parametrize("host", OUTSIDE)
def test_an_address_that_others_can_reach_is_refused_with_authentication_off_alone(
    host: str | None,
) -> None:
    with pytest.raises(ServingError, match="`authentication: off`.*raysys keys create"):
        check_listen_address(host, "off")
    check_listen_address(host, "auto")
    check_listen_address(host, "required")
    assert reachable(["127.0.0.1", host]) == (repr(host) if host else "every network interface")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The proxy of a Serve that runs: `host` is where it listens."""
    http_config = SimpleNamespace(host="0.0.0.0")
    client = SimpleNamespace(http_config=http_config)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray.serve.context, "_get_global_client", lambda **_: client)
    return http_config


def test_a_proxy_that_others_can_reach_is_not_served_behind_without_keys(
    proxy: SimpleNamespace,
) -> None:
    with pytest.raises(ServingError, match="asked to listen on '0.0.0.0'"):
        check_proxy_address("off")
    check_proxy_address("auto")
    proxy.host = "127.0.0.1"
    check_proxy_address("off")


def test_a_gateway_away_from_the_head_is_reached_at_its_nodes_address_too(
    proxy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        {"NodeID": "a", "Resources": {"node:__internal_head__": 1.0}},
        {"NodeID": "b", "Resources": {"CPU": 1.0}},
    ]
    here = ["a"]
    context = SimpleNamespace(get_node_id=lambda: here[0])
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.2")
    assert gateway_hosts() == ["0.0.0.0"]
    here[0] = "b"
    assert gateway_hosts() == ["0.0.0.0", "10.0.0.2"]


def _node(address: str, *, is_alive: bool = True) -> dict[str, object]:
    return {"NodeManagerAddress": address, "Alive": is_alive}


def test_sqlite_is_refused_where_there_are_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [_node("10.0.0.1"), _node("10.0.0.2", is_alive=False)]
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    check_database("sqlite:////state.db")  # the second node is gone
    nodes.append(_node("10.0.0.3"))
    with pytest.raises(ServingError, match=r"2 nodes \(10.0.0.1, 10.0.0.3\).*postgresql://"):
        check_database("sqlite:////state.db")
    check_database("postgresql://user@host/name")
