"""What can be said about an application before anything starts."""

from pathlib import Path

import pytest
import ray

from raysys.api.build import build_app
from raysys.errors import ConfigError, ReleaseNotFoundError, ServingError
from raysys.release import publishing
from tests.unit.releases import published


def test_an_unknown_setting_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'num_shards'"):
        build_app({"release": "r", "num_shard": 2})


def test_a_release_that_is_not_there_is_refused_by_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFoundError, match=str(tmp_path / "nowhere")):
        build_app({"release": str(tmp_path / "nowhere")})


def test_sqlite_is_refused_where_there_are_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeManagerAddress": f"10.0.0.{number}", "Alive": True} for number in (1, 2)]
    monkeypatch.setattr("raysys.api.build.check_proxy_address", lambda _: None)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(ServingError, match="this cluster has 2 nodes"):
        build_app({"release": "anything", "database": "sqlite:///state.db"})


def test_more_shards_than_partitions_are_refused(tmp_path: Path) -> None:
    with publishing(tmp_path) as draft:
        published(draft, num_partitions=2)
    with pytest.raises(ServingError, match="has 2 partitions, too few for 3 shards"):
        build_app({"release": str(tmp_path), "num_shards": 3})
