"""raysys listens on loopback or not at all."""

from types import SimpleNamespace

import pytest
import ray
import ray.serve.context

from raysys.errors import ServingError
from raysys.serving.deployments import check_proxy_address
from raysys.serving.listen import check_listen_address


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
