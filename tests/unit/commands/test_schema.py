"""`raysys schema` writes what `raysys import` follows; what is told of tables is checked."""

import argparse
import json
import shlex

import pytest

from raysys.cli import main
from raysys.commands.arguments import build_parser
from raysys.commands.layouts import layouts_told
from raysys.errors import RaysysError
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.schema import Kind

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
    words = [str(log), "--column", "USER_ID=viewer", *tables, "--to", str(tmp_path / "s")]
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
    words = [str(tmp_path / "log.csv"), "--column", "USER_ID=viewer", "--to", str(tmp_path)]
    assert main(["schema", *words]) == 0
    before = (tmp_path / "interactions.avsc").read_text()
    assert main(["schema", *words]) == 1
    assert "may have been edited" in capsys.readouterr().err
    assert (tmp_path / "interactions.avsc").read_text() == before


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
