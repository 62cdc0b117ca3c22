"""What can be said about an application before anything starts."""

import pytest
import ray

from raysys.api.build import build_app
from raysys.errors import ConfigError, ServingError


def test_an_unknown_setting_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'num_shards'"):
        build_app({"num_shard": 2})


def test_sqlite_is_refused_where_there_are_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeManagerAddress": f"10.0.0.{number}", "Alive": True} for number in (1, 2)]
    monkeypatch.setattr("raysys.api.build.check_proxy_address", lambda _: None)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(ServingError, match="this cluster has 2 nodes"):
        build_app({"database": "sqlite:///state.db"})
