"""Events of many types, from the log to the served list: each does what the settings say of it."""

import contextlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import serve

from raysys import tables
from raysys.commands.api_client import ApiClient
from raysys.commands.console import Console
from raysys.commands.material import Material
from raysys.commands.released_model import ReleasedModel
from raysys.commands.train import train_and_report
from raysys.config import (
    EventType,
    FeedbackConfig,
    GruConfig,
    IndexConfig,
    PipelineConfig,
    ServingConfig,
    TrainingConfig,
)
from raysys.dataset.dataset import shard_histories
from raysys.logs.call import run_here
from raysys.logs.event_export import IMPRESSIONS_FILE, export_log
from raysys.logs.importing import import_log
from raysys.logs.layout import declared
from raysys.logs.schema import Field, Kind, Schema, ValueType
from raysys.serving.cluster import free_port
from raysys.state.items import ItemCount
from raysys.state.store import StateStore
from tests.wiring.private_ray import private_ray
from tests.wiring.served_application import serve_release

pytestmark = pytest.mark.ray

NUM_ITEMS, NUM_USERS, LENGTH = 40, 24, 12
FEEDBACK = FeedbackConfig(
    event_types=(
        EventType(event_type="buy"),
        EventType(event_type="watch", event_value_threshold=0.5, weight=0.5),
        EventType(event_type="view", weight=0.0),
    ),
    negative_event_types=("dislike",),
)
CONFIG = PipelineConfig(
    feedback=FEEDBACK,
    model=GruConfig(hidden_dimension=16, bptt=4, dropout=0.0, event_types=True, time_gaps=True),
    training=TrainingConfig(learning_rate=0.05, batch_size=4, max_epochs=2),
    index=IndexConfig(num_partitions=2),
)
MAX_SEEN = 100
DEVICES = ("phone", "tv")
SCHEMA = Schema(
    Kind.INTERACTIONS,
    (
        Field("USER_ID", ValueType.STRING),
        Field("ITEM_ID", ValueType.STRING),
        Field("TIMESTAMP", ValueType.LONG),
        Field("EVENT_TYPE", ValueType.STRING),
        Field("EVENT_VALUE", ValueType.DOUBLE, is_nullable=True),
        Field("DEVICE", ValueType.STRING, is_categorical=True),
    ),
)
READ = [("buy", None), ("watch", 0.5), ("view", None)]
ONLY_SEEN = [("watch", 0.4), ("watch", None), ("dislike", 1.0), ("share", None)]
CLICKS = READ[:2]

Told = tuple[str, int, str, float | None]
"""What one user did: item, seconds since 1970, type, value."""


def log() -> dict[str, list[Told]]:
    """Return what each user did, oldest first."""
    draw = random.Random(7)
    kinds = [*READ * 3, *ONLY_SEEN]
    return {
        f"user-{user:02}": [
            (f"item-{draw.randrange(NUM_ITEMS):02}", 1_000_000 + step, *draw.choice(kinds))
            for step in range(LENGTH)
        ]
        for user in range(NUM_USERS)
    }


@dataclass
class World:
    """A served release, and what every user did so far."""

    model: ReleasedModel
    database: str
    url: str
    told: dict[str, list[Told]] = field(default_factory=log)

    def client(self) -> contextlib.closing[ApiClient]:
        return contextlib.closing(ApiClient(self.url, timeout_s=60))

    def served(self, user_id: str) -> tuple[str, dict[str, float | None]]:
        """Return the recommendation id and the score of each item that may be shown, in order.

        Popular lists have no scores.
        """
        with self.client() as client:
            reply = client.recommend(user_id, num_results=NUM_ITEMS, exploration_weight=0)
        shown = {each["itemId"]: each.get("score") for each in reply.body["itemList"]}
        return reply.body["recommendationId"], shown

    def ranked(self, user_id: str) -> list[str]:
        """Return the list that evaluation ranks for all that the user did."""
        items, times, types, values = zip(*self.told[user_id], strict=True)
        columns = {
            "user_id": [user_id] * len(items),
            "item_id": items,
            "occurred_at": pa.array([at * 1_000_000 for at in times], tables.TIMESTAMP),
            "event_type": types,
            "event_value": pa.array(values, pa.float64()),
        }
        types = self.model.event_types
        histories = shard_histories(pa.table(columns), self.model.items, FEEDBACK, types)
        return self.model.ranked(histories, NUM_ITEMS, max_seen_items=MAX_SEEN)[0]

    def post(self, user_id: str, told: Sequence[Told], **members: str) -> None:
        events = [
            {
                "eventType": event_type,
                "itemId": item_id,
                "sentAt": at,
                **({} if value is None else {"eventValue": value}),
                **members,
            }
            for item_id, at, event_type, value in told
        ]
        with self.client() as client:
            client.put_events("default", user_id, events)
        self.told.setdefault(user_id, []).extend(told)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("feedback")
    rows = [
        f"{user_id},{item_id},{at},{event_type},{'' if value is None else value},{DEVICES[at % 2]}"
        for user_id, told in log().items()
        for item_id, at, event_type, value in told
    ]
    file = directory / "log.csv"
    file.write_text("\n".join([",".join(field.name for field in SCHEMA.fields), *rows]) + "\n")
    layouts = [declared(SCHEMA)]
    import_log([file], directory / "dataset", layouts=layouts, num_shards=2, run=run_here)
    port = free_port()
    with private_ray(workers_lack=sys.modules[__name__], include_dashboard=True):
        release, _ = train_and_report(
            Material.of(directory / "dataset", CONFIG),
            directory / "releases",
            CONFIG,
            Console(),
            recipe="custom",
        )
        config = ServingConfig(
            database=f"sqlite:///{directory}/state.db",
            max_seen_items=MAX_SEEN,
        )
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve_release(config, release, f"http://127.0.0.1:{port}")
            yield World(ReleasedModel(release), config.database, f"http://127.0.0.1:{port}")
        finally:
            serve.shutdown()


def test_the_served_list_is_what_evaluation_ranks_for_every_user(world: World) -> None:
    histories = world.model.histories
    offline = world.model.ranked(histories, NUM_ITEMS, max_seen_items=MAX_SEEN)
    for user_id, expected in zip(histories.user_ids.to_pylist(), offline, strict=True):
        _, shown = world.served(user_id)
        assert list(shown) == expected == world.ranked(user_id)
        assert not shown.keys() & {told[0] for told in world.told[user_id]}


def test_what_a_request_says_of_its_context_changes_the_list_as_evaluation_changes_it(
    world: World,
) -> None:
    histories = world.model.histories.take([0])
    (user_id,) = histories.user_ids.to_pylist()
    lists = []
    for context in ({}, {"device": "phone"}, {"DEVICE": "tv"}):
        code = world.model.context.code_of_request(context)
        asked = replace(histories, asked_in=np.array([code]))
        (expected,) = world.model.ranked(asked, NUM_ITEMS, max_seen_items=MAX_SEEN)
        body = {"userId": user_id, "numResults": NUM_ITEMS, "context": context}
        with world.client() as client:
            reply = client.post("/recommendations", body, {"x-raysys-exploration-weight": "0"})
        scores = {each["itemId"]: each["score"] for each in reply.body["itemList"]}
        assert list(scores) == expected
        lists.append(scores)
    assert lists[0] != lists[1] != lists[2]  # scores at least, after two epochs


@pytest.mark.parametrize(("event_type", "value"), ONLY_SEEN)
def test_an_event_that_does_not_count_takes_its_item_off_the_list_and_nothing_else(
    world: World, event_type: str, value: float | None
) -> None:
    _, before = world.served("user-03")
    first = next(iter(before))
    world.post("user-03", [(first, 2_000_000, event_type, value)])
    _, after = world.served("user-03")
    assert list(after) == world.ranked("user-03")
    assert after == {item_id: before[item_id] for item_id in list(before)[1:]}


@pytest.mark.parametrize(("event_type", "value"), READ)
def test_an_event_that_is_read_changes_what_comes_next(
    world: World, event_type: str, value: float | None
) -> None:
    _, before = world.served("user-05")
    last = list(before)[-1]
    world.post("user-05", [(last, 2_000_000, event_type, value)])
    _, after = world.served("user-05")
    assert list(after) == world.ranked("user-05")
    assert after.keys() == before.keys() - {last}
    assert None not in after.values()
    assert any(after[item_id] != before[item_id] for item_id in after)


def test_many_events_that_do_not_count_push_none_out_that_does(world: World) -> None:
    _, before = world.served("a stranger")
    bought, *viewed = before
    world.post("a stranger", [(bought, 1_500_000, "buy", None)])
    with world.client() as client:
        for step in range(MAX_SEEN // 10 + 2):
            shares = [
                {"eventType": "share", "itemId": viewed[0], "sentAt": 1_600_000 + 10 * step + n}
                for n in range(10)
            ]
            client.put_events("default", "a stranger", shares)
    world.told["a stranger"].append((viewed[0], 1_600_000, "share", None))
    _, after = world.served("a stranger")
    assert list(after) == world.ranked("a stranger")
    assert not after.keys() & {bought, viewed[0]}


def test_only_events_that_weigh_something_lift_a_new_item(world: World) -> None:
    with world.client() as client:
        client.put_items("default", [{"itemId": "fresh", "properties": "{}"}])
    told = [("fresh", 2_000_000 + n, *kind) for n, kind in enumerate([*READ, *ONLY_SEEN])]
    world.post("user-07", told)
    with contextlib.closing(StateStore(world.database, "default")) as store:
        assert store.changes(0).counts == [ItemCount("fresh", 0, len(CLICKS))]


def test_only_what_was_clicked_is_exported_as_clicked(world: World, tmp_path: Path) -> None:
    recommendation_id, shown = world.served("user-09")
    told = [
        (item_id, 2_000_000, *kind)
        for item_id, kind in zip(shown, [*READ, *ONLY_SEEN], strict=False)
    ]
    world.post("user-09", told, recommendationId=recommendation_id)
    deadline = time.monotonic() + 30
    rows: list[dict[str, Any]] = []
    with contextlib.closing(StateStore(world.database, "default")) as store:
        for attempt in range(1_000):
            assert time.monotonic() < deadline, "the slate was not stored"
            export_log(store.log, tmp_path / str(attempt))
            table = pq.read_table(tmp_path / str(attempt) / IMPRESSIONS_FILE)
            rows = [each for each in table.to_pylist() if each["user_id"] == "user-09"]
            rows = [each for each in rows if each["recommendation_id"] == recommendation_id]
            if rows:
                break
            time.sleep(0.2)
    clicked = [each["item_id"] for each in rows if each["clicked"]]
    assert clicked == [item_id for item_id, _, *kind in told if tuple(kind) in CLICKS]
