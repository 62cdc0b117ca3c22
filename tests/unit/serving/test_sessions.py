"""What a visitor did before the login is in the next answer after it, on every gateway."""

import json
from pathlib import Path
from typing import Any

from raysys.api.app import build_asgi
from tests.unit.api.client import exchange
from tests.unit.serving.world import World, ranked, run


async def post(world: World, path: str, **body: Any) -> Any:
    app = build_asgi(world.engine, world.config, None, ())
    start, end = await exchange(app, "POST", path, (json.dumps(body).encode(),))
    assert start["status"] == 200
    return json.loads(end["body"] or "null")


async def send(world: World, session_id: str, **members: Any) -> None:
    event = {"eventType": members.pop("eventType", "click"), "sentAt": 1_000_000_000}
    if "itemId" in members:
        event["itemId"] = members.pop("itemId")
    tracking_id = world.config.tracking_id
    await post(
        world,
        "/events",
        trackingId=tracking_id,
        sessionId=session_id,
        eventList=[event],
        **members,
    )


async def list_of(world: World, user_id: str) -> list[str]:
    reply = await post(world, "/recommendations", userId=user_id, numResults=10)
    return [item["itemId"] for item in reply["itemList"]]


def test_a_visit_counts_for_the_user_from_the_answer_after_the_login_on(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    world = World(tmp_path)
    other = World(tmp_path / "other", database=f"sqlite:///{tmp_path}/state.db")

    async def scenario() -> None:
        try:
            as_before = ranked([3, 5], 10, [3, 5])
            await send(world, "visit", itemId="i08")
            assert await list_of(world, "bert") == await list_of(other, "bert") == as_before
            asked_as_visitor = await list_of(world, "visit")
            assert "i08" not in asked_as_visitor
            await send(world, "visit", userId="bert", eventType="login")
            after = ranked([3, 5, 9], 10, [3, 5, 9])  # i08 is item number 9
            assert await list_of(other, "bert") == await list_of(world, "bert") == after
            assert await list_of(world, "visit") == asked_as_visitor
            # The database moves on while nobody is told: the next visit counts at once too.
            await send(other, "visit", itemId="i10")
            newest = ranked([3, 5, 9, 11], 10, [3, 5, 9, 11])
            assert await list_of(world, "bert") == newest
        finally:
            await other.close()

    run(world, scenario)
