"""MovieLens-100K as a dataset on a Ray of its own, for benchmarks of what Ray adds to the work."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from raysys.logs.importing import import_log
from raysys.logs.movielens import fetch_movielens_100k


@contextmanager
def movielens_on_ray(cache: Path) -> Iterator[Path]:
    """Start Ray with two CPUs, import the ratings, and give the dataset.

    Others may write beside it. Behind the context it is all gone, and Ray has ended.

    Args:
        cache: where the data is kept.
    """
    files = fetch_movielens_100k(cache)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as work:
            dataset = Path(work) / "dataset"
            import_log([files.interactions], dataset)
            yield dataset
    finally:
        ray.shutdown()
