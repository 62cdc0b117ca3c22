"""Logs behind URLs: in memory, on a web server, in a bucket; and errors that keep secrets."""

import gzip
import http.server
import pickle
import threading
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SourceError
from raysys.logs.call import run_here
from raysys.logs.first_rows import first_rows
from raysys.logs.importing import import_log
from raysys.logs.inference import infer_schema
from raysys.logs.schema import Kind
from raysys.logs.source import Source
from raysys.logs.sources import find_sources, find_table

LOG = b"USER_ID,ITEM_ID,TIMESTAMP\na,i,1\nb,i,2\n,i,3\n"


class Server(http.server.ThreadingHTTPServer):
    """A web server that knows no ranges, and answers as S3 does where S3 would be asked."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files

    @property
    def url(self):
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        if "list-type" in parse_qs(parts.query):
            self._send(self._listing(parse_qs(parts.query).get("prefix", [""])[0]))
        elif unquote(parts.path) in self.server.files:
            self._send(self.server.files[unquote(parts.path)])
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def _listing(self, prefix):
        found = [
            f"<Contents><Key>{path.split('/', 2)[2]}</Key><Size>{len(content)}</Size></Contents>"
            for path, content in self.server.files.items()
            if path.startswith(f"/bucket/{prefix}")
        ]
        words = f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{words}{''.join(found)}</ListBucketResult>".encode()

    def _send(self, content):
        start, end = 0, len(content)
        if ranged := self.path.startswith("/bucket/") and self.headers.get("Range"):
            first, last = ranged.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, end)
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{hash(content)}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server({})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def names(*given):
    return [source.name for source in find_sources(given)]


def test_a_url_stands_for_a_file_a_directory_or_a_glob_like_a_path_does(memory):
    memory.pipe({f"/logs/{name}": LOG for name in ("b.csv", "a.csv.gz", "_c.csv", "d.txt")})
    assert names("memory://logs/b.csv") == ["memory://logs/b.csv"]
    assert names("memory://logs") == ["memory://logs/a.csv.gz", "memory://logs/b.csv"]
    assert names("memory://logs/*.csv") == ["memory://logs/b.csv"]


def test_file_urls_are_paths(tmp_path):
    path = tmp_path / "a log.csv"
    path.write_bytes(LOG)
    (source,) = find_sources([f"file://{tmp_path}/a%20log.csv"])
    assert (source.name, source.is_remote) == (str(path), False)


def test_what_lies_behind_urls_is_imported_like_files_in_any_order(memory, tmp_path):
    memory.pipe("/x/log.csv.gz", gzip.compress(LOG))
    memory.pipe("/x/items.jsonl", b'{"ITEM_ID": "i", "TITLE": "One"}\n')
    with memory.open("/x/log.parquet", "wb") as file:
        columns = {"user_id": ["a", "c"], "item_id": ["i", "j"], "timestamp": [1, 4]}
        pq.write_table(pa.table(columns), file)
    path = tmp_path / "log.csv"
    path.write_bytes(LOG)
    manifest = import_log(
        ["memory://x/log.csv.gz", path, "memory://x/log.parquet"],
        tmp_path / "data",
        items="memory://x/items.jsonl",
        num_shards=1,
        run=run_here,
    )
    assert (manifest.rows_accepted, manifest.rows_duplicate) == (3, 3)
    assert manifest.quarantined_by_reason == {"null_id": 2}
    assert [(source.name, source.num_bytes) for source in manifest.sources] == [
        ("memory://x/log.csv.gz", len(gzip.compress(LOG))),
        (str(path), len(LOG)),
        ("memory://x/log.parquet", memory.size("/x/log.parquet")),
    ]
    rows = pq.read_table(tmp_path / "data" / manifest.shard_names()[0]).to_pylist()
    assert [(row["user_id"], row["source_file"]) for row in rows] == [("a", 0), ("b", 0), ("c", 2)]
    assert pq.read_table(tmp_path / "data" / manifest.items_file)["title"].to_pylist() == ["One"]
    assert {one.name for one in tmp_path.iterdir()} == {"data", "log.csv"}


def test_a_web_server_is_read_even_if_it_knows_no_ranges(server, tmp_path):
    server.files["/logs/log.csv"] = LOG
    url = f"http://ann:geheim@{server.url}/logs/log.csv?sig=versteckt"
    (source,) = find_sources([url])
    assert source.name == f"http://{server.url}/logs/log.csv"
    assert pickle.loads(pickle.dumps(source)) == source
    assert "geheim" not in repr(source)
    assert "versteckt" not in repr(source)
    manifest = import_log([url], tmp_path / "data", run=run_here)
    assert manifest.rows_accepted == 2
    text = (tmp_path / "data" / "manifest.json").read_text()
    assert "geheim" not in text
    assert "versteckt" not in text


def test_a_file_that_a_web_server_lacks_is_told_with_its_answer(server):
    url = f"http://{server.url}/log.csv"
    with pytest.raises(SourceError, match=r"log\.csv cannot be reached, .* there: 404, ") as caught:
        find_sources([f"{url}?key=geheim"])
    assert "geheim" not in str(caught.value)


def test_a_bucket_is_read_with_the_keys_of_its_url(server, tmp_path):
    server.files["/bucket/logs/1 b.csv"] = LOG
    server.files["/bucket/logs/2.csv"] = b"USER_ID,ITEM_ID,TIMESTAMP\nc,i,9\n"
    server.files["/bucket/logs/notes.txt"] = b"none"
    options = f"?scheme=http&endpoint_override={server.url}&region=us-east-1"
    for place in ("logs/*.csv", "logs"):
        url = f"s3://AKIAKEY:geheim@bucket/{place}{options}"
        assert names(url) == ["s3://bucket/logs/1 b.csv", "s3://bucket/logs/2.csv"]
        manifest = import_log([url], tmp_path / "data", run=run_here)
        assert manifest.rows_accepted == 3
    with pytest.raises(SourceError, match=r"^s3://bucket/logs/3\.csv cannot be reached") as caught:
        find_sources([f"s3://AKIAKEY:geheim@bucket/logs/3.csv{options}"])
    assert "geheim" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


def parquet(**columns):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, row_group_size=1_000, compression="none")
    return buffer.getvalue().to_pybytes()


LONG_PARQUET = parquet(item_id=[f"i{n}" for n in range(2_500)], price=[0.5] * 2_500)


@pytest.mark.parametrize(
    ("content", "rows"), [(LONG_PARQUET, 10), (parquet(item_id=["i"]), 1), (parquet(item_id=[]), 0)]
)
def test_of_a_parquet_file_elsewhere_only_the_first_rows_are_fetched(
    server, tmp_path, content, rows
):
    server.files["/bucket/items.parquet"] = content
    options = f"?scheme=http&endpoint_override={server.url}&region=us-east-1"
    origin = find_table(f"s3://AKIAKEY:geheim@bucket/items.parquet{options}")
    (found,) = first_rows([origin], 10, tmp_path / "new")
    assert (found.name, found.has_beginning) == ("s3://bucket/items.parquet", True)
    assert pq.read_table(found.location).equals(pq.read_table(pa.BufferReader(content))[:rows])


def test_a_web_server_that_knows_no_ranges_gives_a_whole_parquet_file(server, tmp_path):
    places = np.random.default_rng(1).integers(0, 2**62, 700_000)
    server.files["/items.parquet"] = parquet(item_id=places)  # larger than what is read at a time
    (found,) = first_rows([find_table(f"http://{server.url}/items.parquet")], 10, tmp_path / "new")
    assert pq.read_table(found.location)["item_id"].to_pylist() == places.tolist()


def test_what_has_a_beginning_stays_where_it_is(memory, tmp_path):
    memory.pipe("/x/log.csv", LOG)
    origins = find_sources(["memory://x/log.csv"])
    assert first_rows(origins, 10, tmp_path / "new") == origins


def test_a_damaged_parquet_file_elsewhere_is_told_by_name(memory, tmp_path):
    memory.pipe("/x/items.parquet", LONG_PARQUET[:-9])
    (copy,) = first_rows([find_table("memory://x/items.parquet")], 10, tmp_path / "new")
    with pytest.raises(SourceError, match=r"memory://x/items.parquet is not a complete Parquet"):
        infer_schema([copy], Kind.ITEMS)


def test_a_file_elsewhere_that_changes_during_the_import_is_refused_by_name(memory, tmp_path):
    memory.pipe("/x/log.csv", LOG)
    before = import_log(["memory://x/log.csv"], tmp_path / "data", run=run_here)

    def run_after(change):
        def run(calls):
            change()
            return run_here(calls)

        return run

    for change, words in (
        (lambda: memory.pipe("/x/log.csv", LOG * 2), "memory://x/log.csv was written to"),
        (lambda: memory.rm("/x/log.csv"), "memory://x/log.csv cannot be read"),
    ):
        with pytest.raises(SourceError, match=words):
            import_log(["memory://x/log.csv"], tmp_path / "data", run=run_after(change))
        assert (tmp_path / "data" / before.import_id).is_dir()
        assert len(list((tmp_path / "data").glob("import-*"))) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.csv.gz", gzip.compress(LOG * 1000)[:-20], "cut.csv.gz cannot be read to its end"),
        ("no.csv.gz", LOG, "no.csv.gz is no gzip file, .*take .gz off its name"),
        ("no.parquet", b"PAR1 nothing", "no.parquet is not a complete Parquet file"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("log.csv", b"USER_ID\na\n", "log.csv has no column ITEM_ID"),
    ],
)
def test_damage_elsewhere_is_told_by_name(memory, tmp_path, name, content, words):
    memory.pipe(f"/x/{name}", content)
    with pytest.raises(SourceError, match=words):
        import_log([f"memory://x/{name}"], tmp_path / "data", run=run_here)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_header_elsewhere_is_told_before_anything_is_fetched(server, tmp_path):
    server.files["/log.csv"] = b"USER_ID,ITEM_ID\na,i\n" * 1000

    def run_nothing(_):
        raise AssertionError("a task ran")

    with pytest.raises(SourceError, match="no column TIMESTAMP"):
        import_log([f"http://{server.url}/log.csv"], tmp_path / "data", run=run_nothing)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://nowhere/log.csv", "not there"),
        ("memory://here/*.zip", "holds no file whose name ends with"),
        ("memory://here/notes.txt", "no known format"),
        ("nosuch://here/log.csv", "Protocol not known: nosuch"),
        ("https://ann:geheim@127.0.0.1:1/log.csv?sig=versteckt", "Cannot connect"),
    ],
)
def test_what_cannot_be_reached_is_told_without_user_and_password(memory, url, words):
    memory.pipe("/here/notes.txt", b"none")
    with pytest.raises(SourceError, match=words) as caught:
        find_sources([url])
    chain = f"{caught.value!r} {caught.value.__cause__!r}"
    for secret in ("ann", "geheim", "versteckt"):
        assert secret not in chain.replace("annot", "")


def test_a_table_is_one_file(memory):
    memory.pipe({"/t/a.csv": b"ITEM_ID\n1\n", "/t/b.csv": b"ITEM_ID\n2\n"})
    assert isinstance(find_table("memory://t/a.csv"), Source)
    with pytest.raises(SourceError, match="stands for 2 tables; name one"):
        find_table("memory://t")
