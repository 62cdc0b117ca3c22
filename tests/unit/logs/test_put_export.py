"""What clients put becomes a table that an import reads."""

import json
from pathlib import Path

import pytest

from raysys.logs.catalogue import read_catalogue
from raysys.logs.catalogue_merge import merged
from raysys.logs.put_export import write_items, write_users
from raysys.state.items import StoredItem
from raysys.state.users import User
from tests.unit.logs.tools import ITEMS, USERS, table_at, write


def put(item_id: str, properties: object) -> StoredItem:
    text = properties if isinstance(properties, str | None) else json.dumps(properties)
    return StoredItem(item_id, text, 1_767_323_045_999_999)


def test_an_import_adds_what_was_put_to_the_table_that_was_there(tmp_path: Path) -> None:
    given = "item_id,title,genres,release_year,creation_timestamp\n"
    known = write(tmp_path / "items.csv", given + "old,Old,War,1950,7\nkept,Kept,,1960,8\n")
    items = [
        put("new", {"TITLE": "Élan", "genres": ["Crime", "War"], "releaseYear": "2026"}),
        put("old", {"title": "Older", "creationTimestamp": 1767323045.999999}),
        put("bare", None),
    ]
    assert write_items(items, tmp_path / "items.jsonl") == 3
    found = read_catalogue(table_at(tmp_path / "items.jsonl"), ITEMS)
    assert (found.notices, found.num_unusable) == ([], 0)
    base = read_catalogue(table_at(known), ITEMS).table
    rows = {row["item_id"]: row for row in merged(base, found.table, "item_id").to_pylist()}
    nothing = dict.fromkeys(base.column_names)
    assert rows == {
        "old": {**nothing, "item_id": "old", "title": "Older", "creation_timestamp": 1_767_323_045},
        "kept": {
            "item_id": "kept",
            "title": "Kept",
            "genres": rows["kept"]["genres"],
            "release_year": "1960",
            "creation_timestamp": 8,
        },
        "new": {
            **nothing,
            "item_id": "new",
            "title": "Élan",
            "genres": "Crime|War",
            "release_year": "2026",
        },
        "bare": {**nothing, "item_id": "bare"},
    }


@pytest.mark.parametrize(
    ("properties", "row"),
    [
        ("not json", {}),
        ("[1]", {}),
        ("[" * 100_000, {}),
        ({"item_id": "other", "ITEM_ID": 3}, {}),
        ({"place": {"x": 1}, "sizes": [1, 2], "nothing": None, "tags": []}, {"tags": ""}),
        (
            {"isNew": True, "Price": 1.5, "RUN_TIME": 90},
            {"is_new": True, "price": 1.5, "run_time": 90},
        ),
    ],
)
def test_what_no_table_holds_is_left_out(tmp_path: Path, properties: object, row: dict) -> None:
    write_items([put("a", properties)], tmp_path / "items.jsonl")
    line = json.loads((tmp_path / "items.jsonl").read_text())
    assert line == {"item_id": "a", **row}


def test_users_that_were_put_are_added_to_the_table_of_users(tmp_path: Path) -> None:
    known = write(tmp_path / "users.csv", "user_id,age,home_town\nold,30,Rome\nkept,31,Oslo\n")
    users = [
        User("old", '{"AGE": "32"}'),
        User("new", '{"homeTown": "Bern", "USER_ID": "x", "creationTimestamp": 5}'),
        User("bare", "not json"),
    ]
    assert write_users(users, tmp_path / "users.jsonl") == 3
    found = read_catalogue(table_at(tmp_path / "users.jsonl"), USERS)
    assert (found.notices, found.num_unusable) == ([], 0)
    base = read_catalogue(table_at(known), USERS).table
    rows = {row.pop("user_id"): row for row in merged(base, found.table, "user_id").to_pylist()}
    for row in rows.values():
        row.pop("creation_timestamp", None)
    assert rows == {
        "old": {"age": "32", "home_town": None},
        "kept": {"age": "31", "home_town": "Oslo"},
        "new": {"age": None, "home_town": "Bern"},
        "bare": {"age": None, "home_town": None},
    }
