"""Events and slates leave the database as two tables: together, of one moment, or not at all."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys import storage
from raysys.errors import DatasetError, StateError
from raysys.logs import event_export
from raysys.logs.event_export import ExportReport, export_log
from raysys.logs.readers import inspect_source
from raysys.state.log_reader import LogEnd, LogReader
from raysys.state.store import StateStore
from raysys.tables import EXPORTED_EVENTS, IMPRESSIONS
from tests.unit.logs.tools import LOG, log_at
from tests.unit.state.builders import event, slate, sqlite_url

T1 = datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
T2 = datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)
T1_US, T2_US = 1_704_067_200_000_001, 1_704_067_201_000_000


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "export"


def rows(directory: Path, name: str) -> list[dict[str, object]]:
    return pq.read_table(directory / name).to_pylist()


def test_events_that_name_an_item_become_interactions(store: StateStore, target: Path) -> None:
    store.put_events(
        [
            event("b", T2_US, event_id="e-1", user_id="bob", event_type="watch"),
            event(None, T2_US, event_type="search"),
            event("a", T1_US),
        ]
    )
    assert export_log(store.log, target) == ExportReport(3, interactions=2, events_without_item=1)
    assert pq.read_schema(target / "interactions.parquet").equals(EXPORTED_EVENTS)
    assert rows(target, "interactions.parquet") == [
        {
            "USER_ID": "bob",
            "ITEM_ID": "b",
            "TIMESTAMP": T2,
            "EVENT_TYPE": "watch",
            "EVENT_VALUE": None,
            "EVENT_ID": "e-1",
        },
        {
            "USER_ID": "ann",
            "ITEM_ID": "a",
            "TIMESTAMP": T1,
            "EVENT_TYPE": "click",
            "EVENT_VALUE": None,
            "EVENT_ID": None,
        },
    ]
    # Nothing of it needs an import's notice: no column is unknown, no type surprises.
    assert inspect_source(log_at(target / "interactions.parquet"), LOG)[1] == []
    assert rows(target, "impressions.parquet") == []


def test_slates_become_impressions_by_position(store: StateStore, target: Path) -> None:
    store.put_slates(
        [
            slate("RID-1", shown_at_us=T1_US),
            slate("RID-2", item_ids=(), propensities=(), explored=(), fresh_item_ids=()),
            slate(
                "RID-3",
                user_id=None,
                item_id="b",
                shown_at_us=T2_US,
                policy="none",
                exploration_weight=0.0,
                seed=0,
                item_ids=("b",),
                propensities=(1.0,),
                explored=(),
                fresh_item_ids=(),
            ),
        ]
    )
    store.put_events([event("b", 5, recommendation_id="RID-1")])
    report = export_log(store.log, target)
    assert report == ExportReport(1, 1, 0, slates=3, impressions=3, explored=1, clicked=1)
    assert pq.read_schema(target / "impressions.parquet").equals(IMPRESSIONS)
    of_first = {
        "recommendation_id": "RID-1",
        "user_id": "ann",
        "shown_at": T1,
        "release": "r-1",
        "policy": "slot-mixture",
        "exploration_weight": 0.25,
        "seed": 2**63 - 1,
    }
    top = {"item_id": "a", "position": 0, "propensity": 0.75, "explored": False, "clicked": False}
    second = {"item_id": "b", "position": 1, "propensity": 0.1, "explored": True, "clicked": True}
    top |= {"came_as": "relevant", "fresh": False, "num_fresh": None, "visible": None}
    second |= {"came_as": None, "fresh": True, "num_fresh": None, "visible": None}
    similar = {
        **top,
        "recommendation_id": "RID-3",
        "user_id": None,
        "item_id": "b",
        "propensity": 1.0,
        "shown_at": T2,
        "release": "r-1",
        "policy": "none",
        "exploration_weight": 0.0,
        "seed": 0,
    }
    assert rows(target, "impressions.parquet") == [of_first | top, of_first | second, similar]


def test_what_a_client_says_was_visible_stands_beside_each_place(
    store: StateStore, target: Path
) -> None:
    store.put_slates([slate("RID-1"), slate("RID-2"), slate("RID-3")])
    store.put_events(
        [
            event("a", 1, recommendation_id="RID-1", impression=("a", "elsewhere")),
            event("b", 2, recommendation_id="RID-2"),
            event(None, 3, recommendation_id="RID-3", event_type="view", impression=("b",)),
            event(None, 4, recommendation_id="RID-3", event_type="scroll", impression=("a",)),
        ]
    )
    export_log(store.log, target)
    visible = [row["visible"] for row in rows(target, "impressions.parquet")]
    assert visible == [True, False, None, None, True, True]


def test_each_place_says_what_brought_its_item_there(store: StateStore, target: Path) -> None:
    places = slate(
        item_ids=("a", "b", "c", "d"),
        propensities=(0.75, 0.1, 0.8, 0.5),
        explored=(1, 2, 3),
        also_relevant=(2,),
        nothing_relevant=(3,),
        fresh_item_ids=("b", "d"),
        num_fresh=7,
    )
    store.put_slates([places])
    export_log(store.log, target)
    came_as = [row["came_as"] for row in rows(target, "impressions.parquet")]
    assert came_as == ["relevant", "explored", "both", "rest"]
    fresh = [(row["fresh"], row["num_fresh"]) for row in rows(target, "impressions.parquet")]
    assert fresh == [(False, 7), (True, 7), (False, 7), (True, 7)]


def test_a_click_that_came_after_an_export_is_in_the_next_one(
    store: StateStore, tmp_path: Path
) -> None:
    store.put_slates([slate("RID-1")])
    store.put_events([event("a", 1)])
    export_log(store.log, tmp_path / "1")
    store.put_events([event("b", 2, recommendation_id="RID-1")])
    export_log(store.log, tmp_path / "2")
    assert [row["clicked"] for row in rows(tmp_path / "1", "impressions.parquet")] == [False] * 2
    assert [row["clicked"] for row in rows(tmp_path / "2", "impressions.parquet")] == [False, True]


def test_only_the_groups_own_log_is_written(
    store: StateStore, tmp_path: Path, target: Path
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    books.put_events([event("book", 1, recommendation_id="RID-1")])
    books.put_slates([slate("RID-1", item_ids=("book", "a"))])
    store.put_slates([slate("RID-1")])
    assert export_log(store.log, target) == ExportReport(
        0, slates=1, impressions=2, explored=1, clicked=0
    )
    books.close()


def test_progress_rises_to_the_whole(store: StateStore, target: Path) -> None:
    store.put_events([event("a", 1), event("b", 2)])
    store.put_slates([slate("RID-1")])
    told: list[tuple[float, float | None]] = []
    export_log(store.log, target, on_progress=lambda done, total, _: told.append((done, total)))
    assert told == [(2, 3), (3, 3), (3, 3)]


def test_nothing_to_export_is_an_error_and_nothing_is_written(
    store: StateStore, tmp_path: Path, target: Path
) -> None:
    with pytest.raises(StateError, match="no slates of the dataset group 'films': it is empty"):
        export_log(store.log, target)
    books = StateStore(sqlite_url(tmp_path), "books")
    books.put_events([event("book", 1)])
    with pytest.raises(StateError, match="has some of books"):
        export_log(store.log, target)
    books.close()
    assert not target.parent.exists()


def test_what_lies_at_the_destination_stays(store: StateStore, tmp_path: Path) -> None:
    store.put_events([event("a", 1)])
    taken = tmp_path / "taken"
    taken.mkdir()
    export_log(store.log, taken)  # empty: nothing is lost
    before = (taken / "interactions.parquet").read_bytes()
    with pytest.raises(DatasetError, match="a directory with things in it"):
        export_log(store.log, taken)
    assert (taken / "interactions.parquet").read_bytes() == before
    with pytest.raises(DatasetError, match="is a file"):
        export_log(store.log, tmp_path / "state.db")


@pytest.mark.parametrize("failure", [OSError("No space left on device"), KeyboardInterrupt()])
def test_an_export_that_fails_halfway_leaves_nothing(
    store: StateStore, target: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    store.put_events([event("a", 1)])
    store.put_slates([slate("RID-1")])

    def fail(self: LogReader, end: LogEnd) -> Iterator[None]:
        assert any(target.parent.glob(".export*/interactions.parquet"))
        raise failure

    monkeypatch.setattr(LogReader, "slates", fail)
    expected = DatasetError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        export_log(store.log, target)
    assert list(target.parent.iterdir()) == []


def test_a_destination_that_was_taken_meanwhile_stays(
    store: StateStore, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_events([event("a", 1)])
    publish = storage.publish_directory

    def publish_late(staging: Path, path: Path) -> None:
        (path / "mine").mkdir(parents=True)
        publish(staging, path)

    monkeypatch.setattr(event_export.storage, "publish_directory", publish_late)
    with pytest.raises(DatasetError, match="exists already"):
        export_log(store.log, target)
    assert [path.name for path in target.parent.rglob("*")] == ["export", "mine"]


def test_large_integers_and_floats_are_exact(store: StateStore, target: Path) -> None:
    store.put_slates([slate("RID-1", seed=2**53 + 1, propensities=(0.1 + 0.2, 5e-324))])
    export_log(store.log, target)
    table = pq.read_table(target / "impressions.parquet")
    assert table["seed"].to_pylist() == [2**53 + 1] * 2
    assert table["propensity"].to_pylist() == [0.1 + 0.2, 5e-324]
    assert table["position"].type == pa.int32()
