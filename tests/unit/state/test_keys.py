"""Keys in the database."""

from pathlib import Path

from raysys.state.keys import StoredKey
from raysys.state.store import StateStore
from tests.unit.state.builders import sqlite_url

KEY = StoredKey("RSAK1", "signature", b"\x00sealed\xff", ("read", "write"), 5, "films", "shop", 9)
OTHER = StoredKey("RSBT2", "bearer", b"hash", ("admin",), 4)


def test_keys_come_back_as_they_were_stored_the_oldest_first(store: StateStore) -> None:
    assert store.keys.all() == []
    store.keys.add(KEY)
    store.keys.add(OTHER)
    assert store.keys.all() == [OTHER, KEY]


def test_keys_of_another_dataset_group_are_neither_seen_nor_changed(
    store: StateStore, tmp_path: Path
) -> None:
    store.keys.add(KEY)
    books = StateStore(sqlite_url(tmp_path), "books")
    assert books.keys.all() == []
    assert books.keys.version() == 0
    books.keys.revoke("RSAK1", 7)
    books.keys.seal_again([("RSAK1", b"mine")])
    books.close()
    assert store.keys.all() == [KEY]


def test_every_change_is_another_version_and_what_changes_nothing_is_none(
    store: StateStore,
) -> None:
    versions = [store.keys.version()]

    def note() -> None:
        versions.append(store.keys.version())

    store.keys.add(KEY)
    note()
    store.keys.revoke("RSAK1", 7)
    note()
    store.keys.seal_again([("RSAK1", b"new")])
    note()
    assert versions == [0, 1, 2, 3]
    store.keys.revoke("RSAK1", 8)
    store.keys.revoke("nobody", 8)
    store.keys.seal_again([])
    assert store.keys.version() == 3
    (found,) = store.keys.all()
    assert (found.revoked_at_us, found.proof) == (7, b"new")


def test_an_id_that_is_taken_stays_with_whom_it_is(store: StateStore) -> None:
    store.keys.add(KEY)
    store.keys.add(StoredKey("RSAK1", "bearer", b"other", ("admin",), 6))
    assert store.keys.all() == [KEY]


def test_a_key_is_good_until_the_moment_of_its_end() -> None:
    assert KEY.is_good(8)
    assert not KEY.is_good(9)
    assert OTHER.is_good(10**18)
    assert not StoredKey("k", "bearer", b"", ("read",), 1, revoked_at_us=5).is_good(0)


def test_what_proves_a_key_is_in_no_text_about_it() -> None:
    assert "sealed" not in repr(KEY)
    assert "hash" not in repr(OTHER)
