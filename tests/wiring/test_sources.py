"""What lies elsewhere, brought in on a real Ray: from a real PostgreSQL, and from a web server."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.private_postgresql import private_postgresql
from raysys.errors import SourceError
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest, manifest_path
from raysys.logs.sql import sql_query
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray

VIEWS = """
create table views (viewer bigint, film uuid, at timestamptz, kind text, stars numeric(3, 1));
insert into views select
    n % 100,
    (case when n % 50 = 0 then null else md5((n % 7)::text) end)::uuid,
    timestamptz '2026-01-01 02:00:00.25+02' + n * interval '1 second',
    case when n % 2 = 0 then 'view' end,
    case when n % 3 = 0 then 4.5 end
from generate_series(1, 50000) n;
insert into views values (1, md5('1')::uuid, 'infinity', 'view', 1);
create table films (film uuid, title text, tags text[], price numeric, released date, cover bytea);
insert into films values
    (md5('0')::uuid, 'Zero: 100%', array['a', 'b'], 9.99, '1999-12-31', null),
    (md5('1')::uuid, null, null, 12, null, 'x');
create role ann login password 'geheim';
grant select on views, films to ann;
"""
LOG = """
select viewer as user_id, film as item_id, at as timestamp, kind as event_type, stars as event_value
from views where kind is null or kind like '%' order by at desc
"""


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray():
        yield


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The URL of a database with a log and a table of films; its role ann has a password."""
    with private_postgresql() as server:
        server.psql("create database shop;")
        url = str(server.get_uri(database="shop"))
        server.psql(f"\\c shop\n{VIEWS}")
        yield url.replace("postgres:@", "ann:geheim@")


def test_what_postgresql_answers_is_imported_with_every_row_accounted_for(
    shop: str, tmp_path: Path
) -> None:
    seen: list[tuple[float, float | None, str]] = []
    manifest = import_log(
        [sql_query(shop, LOG)],
        tmp_path / "data",
        items=sql_query(shop, "select film as item_id, * from films"),
        num_shards=2,
        on_progress=lambda done, total=None, note="": seen.append((done, total, note)),
    )
    assert manifest.rows_in == 50_001
    assert manifest.quarantined_by_reason == {"null_id": 1000, "timestamp_out_of_range": 1}
    assert manifest.rows_accepted == 49_000
    assert (manifest.num_users, manifest.num_items) == (100 - 2, 7)
    assert manifest.first_occurred_at.isoformat() == "2026-01-01T00:00:01.250000+00:00"
    assert (20_000, None, "fetching") in seen

    name = manifest.shard_names()[0]
    table = pq.read_table(tmp_path / "data" / name)
    first = table.sort_by([("source_row", "ascending")]).slice(0, 1).to_pylist()[0]
    n = 50_002 - first["source_row"]  # the query began with the newest
    assert first["user_id"] == str(n % 100)
    assert first["event_type"] == ("view" if n % 2 == 0 else None)
    assert first["event_value"] == (4.5 if n % 3 == 0 else None)

    assert manifest.items_file
    films = pq.read_table(tmp_path / "data" / manifest.items_file).to_pylist()
    assert [list(film)[:3] for film in films] == [["item_id", "title", "film"]] * 2
    assert [(film["title"], *list(film.values())[3:]) for film in films] == [
        ("Zero: 100%", "a|b", 9.99, "1999-12-31", None),
        (None, None, 12.0, None, "x"),
    ]
    assert "geheim" not in manifest_path(tmp_path / "data").read_text()
    assert "ann" not in manifest.sources[0].name


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("delete from views returning viewer", "delete"),
        ("with gone as (delete from views returning *) select * from gone", "data-modifying"),
        ("select viewer as user_id, film as item_id from views", "no column TIMESTAMP"),
        ("select 1 / (viewer - 99) as user_id, 1 item_id, 1 as timestamp from views", "by zero"),
    ],
)
def test_a_query_that_fails_half_way_or_would_write_leaves_dataset_and_database_alone(
    shop: str, tmp_path: Path, query: str, words: str
) -> None:
    one = "select 1 as user_id, 2 as item_id, now() as timestamp"
    before = import_log([sql_query(shop, one)], tmp_path / "data")
    with pytest.raises(SourceError, match=words) as caught:
        import_log([sql_query(shop, query)], tmp_path / "data")
    assert "geheim" not in repr(caught.value)
    text = manifest_path(tmp_path / "data").read_text()
    assert DatasetManifest.model_validate_json(text) == before
    count = "select count(*)::text as user_id, 2 as item_id, now() as timestamp from views"
    import_log([sql_query(shop, count)], tmp_path / "count", num_shards=1)
    (shard,) = (tmp_path / "count").glob("*/interactions/*")
    assert pq.read_table(shard)["user_id"].to_pylist() == ["50001"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_tasks_fetch_what_a_web_server_has_and_nothing_of_it_stays(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "log.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\na,i,1\n,i,2\n")
    pq.write_table(
        pa.table({"user_id": ["b"], "item_id": ["j"], "timestamp": [3]}), served / "log.parquet"
    )
    handler = functools.partial(_Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            manifest = import_log(
                [f"{url}/log.csv?key=geheim", f"{url}/log.parquet"], tmp_path / "data", num_shards=1
            )
        finally:
            server.shutdown()
            thread.join()
    assert (manifest.rows_accepted, manifest.rows_quarantined) == (2, 1)
    names = [source.name for source in manifest.sources]
    assert names == [f"{url}/log.csv", f"{url}/log.parquet"]
    assert {path.name for path in tmp_path.iterdir()} == {"served", "data"}
    held = {path.relative_to(tmp_path / "data") for path in (tmp_path / "data").rglob("*.*")}
    assert {str(path) for path in held} == {"manifest.json", *manifest.files}
