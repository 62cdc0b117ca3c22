"""What clients are told while nothing fits on the disk any more."""

import json
from pathlib import Path

from raysys.api.app import build_asgi
from tests.unit.api.client import exchange
from tests.unit.serving.world import World, run


def test_a_full_disk_refuses_events_with_503_and_lists_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, record=False)
    app = build_asgi(world.engine, world.config)

    def let_pages(number: int) -> None:
        with world.store._database._writer.connect() as connection:  # the pool gives it out again
            connection.exec_driver_sql(f"PRAGMA max_page_count={number}")

    async def status_of(path: str, body: dict[str, object]) -> tuple[int, dict[bytes, bytes]]:
        start, _ = await exchange(app, "POST", path, (json.dumps(body).encode(),))
        return start["status"], dict(start["headers"])

    async def scenario() -> None:
        event = {"eventType": "click", "itemId": "item-1", "sentAt": 1.7e9, "properties": "{}"}
        event["properties"] = json.dumps({"text": "x" * 1_000})
        events = {
            "trackingId": "default",
            "userId": "anna",
            "sessionId": "s",
            "eventList": [{**event, "eventId": f"{number}"} for number in range(10)],
        }
        let_pages(1)  # as many as there are
        status, headers = await status_of("/events", events)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert headers[b"x-amzn-errortype"] == b"ServiceUnavailableException"
        assert "anna" not in world.store.user_states(["anna"])
        status, headers = await status_of("/recommendations", {"userId": "anna"})
        assert status == 200
        assert b"x-raysys-degraded" not in headers
        let_pages(1_000_000)
        assert (await status_of("/events", events))[0] == 200
        assert len(world.store.user_states(["anna"])["anna"].interactions) == 10

    run(world, scenario)
