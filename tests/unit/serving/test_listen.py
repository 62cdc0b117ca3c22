"""raysys listens on loopback or not at all."""

from types import SimpleNamespace

import pytest
import ray
import ray.serve.context

from raysys.errors import ServingError
from raysys.serving.listen import check_listen_address
from raysys.serving.nodes import check_database, check_proxy_address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback_is_allowed(host: str) -> None:
    check_listen_address(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", None, "10.0.0.7", "example.org", "localhost.example.org", "*"]
)
def test_an_address_that_others_can_reach_is_refused_with_the_reason(host: str | None) -> None:
    with pytest.raises(ServingError, match="no authentication yet"):
        check_listen_address(host)


def test_a_proxy_that_listens_elsewhere_is_not_served_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = SimpleNamespace(http_config=SimpleNamespace(host="0.0.0.0"))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray.serve.context, "_get_global_client", lambda **_: client)
    with pytest.raises(ServingError, match="asked to listen on '0.0.0.0'"):
        check_proxy_address()
    client.http_config.host = "127.0.0.1"
    check_proxy_address()


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
