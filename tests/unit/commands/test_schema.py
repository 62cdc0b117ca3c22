"""`raysys schema` writes what `raysys import` follows; what is told of tables is checked."""

import argparse
import json
import shlex
import sqlite3
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.commands.arguments import build_parser
from raysys.commands.console import Console
from raysys.commands.layouts import layouts_told
from raysys.commands.origins import origins_told
from raysys.errors import RaysysError
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest
from raysys.logs.schema import Kind
from tests.unit.logs.test_movielens_files import ML_1M

LOG = "viewer,ITEM_ID,TIMESTAMP,Device Type,IMPRESSION\n" + "".join(
    f"u{n % 3},i{n},{n},{'tv' if n % 2 else ''},i1|i2\n" for n in range(8)
)


def arguments(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["import", "--interactions", "log.csv", "--to", "d", *words])


def test_the_options_that_it_prints_import_the_log_as_it_says(tmp_path, capsys):
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text(LOG)
    items.write_text("sku,TITLE,PRICE\ni1,One,1.5\n")
    tables = ["--items", str(items), "--item-column", "ITEM_ID=sku"]
    words = [
        "--interactions",
        str(log),
        "--column",
        "USER_ID=viewer",
        *tables,
        "--to",
        str(tmp_path / "s"),
    ]
    assert main(["schema", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    layouts = layouts_told(
        arguments(*result["import_options"]), tables={Kind.INTERACTIONS, Kind.ITEMS}
    )
    manifest = import_log(
        [log], tmp_path / "data", items=items, layouts=layouts, num_shards=1, run=run_here
    )
    assert manifest.rows_accepted == 8
    assert manifest.notices == []
    assert manifest.declared_schemas == ["interactions", "items"]
    assert manifest.impressions.model_dump() == {"rows": 8, "items": 16}
    fields = [field["name"] for field in manifest.schemas["interactions"]["fields"]]
    assert fields == ["USER_ID", "ITEM_ID", "TIMESTAMP", "DEVICE_TYPE", "IMPRESSION"]


def test_a_schema_that_is_there_may_have_been_edited_and_is_not_replaced(tmp_path, capsys):
    (tmp_path / "log.csv").write_text(LOG)
    words = [
        "--interactions",
        str(tmp_path / "log.csv"),
        "--column",
        "USER_ID=viewer",
        "--to",
        str(tmp_path),
    ]
    assert main(["schema", *words]) == 0
    before = (tmp_path / "interactions.avsc").read_text()
    assert main(["schema", *words]) == 1
    assert "may have been edited" in capsys.readouterr().err
    assert (tmp_path / "interactions.avsc").read_text() == before


def test_queries_are_looked_at_as_files_are(tmp_path, capsys):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.executescript("""
        create table views (user_id text, item_id text, timestamp integer, device text);
        insert into views values ('u', 'i', 1, 'tv'), ('v', 'i', 2, null);
        create table films (sku text, title text, price real);
        insert into films values ('i', 'One', 1.5);
    """)
    connection.close()
    words = ["--sql", f"sqlite:///{tmp_path / 'shop.db'}", "--query", "select * from views"]
    words += ["--items-query", "select * from films", "--item-column", "ITEM_ID=sku"]
    assert main(["schema", *words, "--to", str(tmp_path / "s"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = fields_of(result["schemas"]["interactions"])
    assert found["DEVICE"] == ["string", "null"]
    assert fields_of(result["schemas"]["items"])["PRICE"] == ["double", "null"]
    manifest = imported_as_told(words[:6], result["import_options"], tmp_path / "data")
    assert (manifest.rows_accepted, manifest.notices) == (2, [])


def test_movielens_has_schemas_too(tmp_path, capsys):
    directory = tmp_path / "ml-1m"
    directory.mkdir()
    for name, text in ML_1M.items():
        (directory / name).write_text(text, encoding="latin-1")
    words = ["--movielens", str(directory), "--to", str(tmp_path / "s"), "--json"]
    assert main(["schema", *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(fields_of(result["schemas"]["interactions"])) == [
        *("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_VALUE"),
    ]
    assert "GENRES" in fields_of(result["schemas"]["items"])
    manifest = imported_as_told(words[:2], result["import_options"], tmp_path / "data")
    assert manifest.rows_accepted == 2
    assert manifest.declared_schemas == ["interactions", "items", "users"]


def fields_of(path):
    fields = json.loads(Path(path).read_text())["fields"]
    return {field["name"]: field["type"] for field in fields}


def imported_as_told(words: list[str], options: list[str], to: Path) -> DatasetManifest:
    """Import what the words name with the options that `raysys schema` printed."""
    parsed = build_parser().parse_args(["import", *words, "--to", str(to), *options])
    origins = origins_told(parsed, Console())
    layouts = layouts_told(parsed, tables={Kind.INTERACTIONS, *origins.tables})
    return import_log(
        origins.interactions,
        to,
        items=origins.items,
        users=origins.users,
        layouts=layouts,
        num_shards=1,
        run=run_here,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--column USER_ID", "write COLUMN=NAME"),
        ("--column =viewer", "write COLUMN=NAME"),
        ("--column USER_ID=", "write COLUMN=NAME"),
        ("--column USER_ID=a --column user_id=b", "given before"),
        ("--column USER_ID=a --column ITEM_ID=a", "given before"),
        ("--column DEVICE=tv", "DEVICE was to be read from 'tv', but is no column that is read"),
        ("--item-column TITLE=name", "none is given: add --items"),
        ("--users-schema users.avsc", "none is given: add --users"),
        ("--schema nowhere.avsc", "nowhere.avsc cannot be read"),
    ],
)
def test_what_is_told_amiss_is_refused_before_anything_is_read(words, message):
    with pytest.raises(RaysysError, match=message):
        layouts_told(arguments(*shlex.split(words)), tables={Kind.INTERACTIONS})
