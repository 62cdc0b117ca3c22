"""Partitions of an index are built as tasks of Ray, the same as in one process."""

from pathlib import Path

import numpy as np
import pytest

from raysys.config import IndexConfig
from raysys.errors import ConfigError
from raysys.index import build
from raysys.index.build import build_partitions
from raysys.logs.call import run_here
from raysys.logs.calls import run_calls, runner
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

ITEMS = np.random.default_rng(0).standard_normal((2_000, 16)).astype(np.float32)
IDS = [f"item-{number}" for number in range(len(ITEMS))]
QUERIES = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
CONFIG = IndexConfig(factory="HNSW16", num_partitions=3, min_recall=0.9)


def test_tasks_build_the_files_that_one_process_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_WORTH_A_TASK", 0)
    assert runner() is run_here
    here = build_partitions(tmp_path / "here", ITEMS, IDS, CONFIG, "hash", queries=QUERIES)
    with private_ray():
        assert runner() is run_calls
        there = build_partitions(
            tmp_path / "there", ITEMS, IDS, CONFIG, "hash", queries=QUERIES, run=runner()
        )
        too_many_lists = CONFIG.model_copy(update={"factory": "IVF4096,Flat"})
        with pytest.raises(ConfigError, match="FAISS cannot build index.factory 'IVF4096,Flat'"):
            build_partitions(tmp_path / "no", ITEMS, IDS, too_many_lists, "hash", run=runner())
    measured = {"queries_per_s", "build_seconds"}
    assert there.model_dump(exclude=measured) == here.model_dump(exclude=measured)
    for path in sorted((tmp_path / "here").glob("partition-*")):
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()
