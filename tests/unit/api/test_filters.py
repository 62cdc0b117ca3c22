"""Filters over HTTP: from the names and values of a request to what its answer holds."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raysys.api.app import build_asgi
from raysys.state.filters import NamedFilter
from tests.unit.api.client import Reply, exchange
from tests.unit.serving.world import ITEM_IDS, World

ARN = "arn:aws:personalize:eu-west-1:123456789012:filter/"
EXPRESSION = "INCLUDE ItemID WHERE Items.KIND IN ($KIND) | EXCLUDE ItemID WHERE Items.SIZE > $SIZE"


async def post(app: Any, **members: object) -> Reply:
    start, end = await exchange(app, "POST", "/recommendations", (msgspec.json.encode(members),))
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], headers, end["body"])


def answered(directory: Path, *requests: dict[str, object]) -> list[Reply]:
    """Return the replies to some requests, all at once, on a server with one filter."""
    world = World(directory)
    world.store.filters.create(NamedFilter("of-kind", ARN + "of-kind", EXPRESSION, 1))

    async def ask_all() -> list[Reply]:
        app = build_asgi(world.engine, world.config)
        try:
            return await asyncio.gather(*(post(app, **members) for members in requests))
        finally:
            await world.close()

    return asyncio.run(ask_all())


def items_of(reply: Reply) -> set[str]:
    assert reply.status == 200, reply.body
    return {each["itemId"] for each in reply.json()["itemList"]}


def test_a_filter_is_named_by_its_name_or_arn_and_takes_values(tmp_path: Path) -> None:
    long = {each for n, each in enumerate(ITEM_IDS) if n % 6 == 3}
    by_name, by_arn, smaller, both, without = answered(
        tmp_path,
        {"userId": "bert", "filterArn": "of-kind", "filterValues": {"KIND": '"long"'}},
        {"userId": "bert", "filterArn": ARN + "of-kind", "filterValues": {"KIND": '"long"'}},
        {
            "userId": "bert",
            "filterArn": "of-kind",
            "filterValues": {"KIND": '"long"', "SIZE": "20"},
        },
        {
            "itemId": "i03",
            "filterArn": "of-kind",
            "filterValues": {"KIND": '"long","even"', "SIZE": "20"},
            "numResults": 60,
        },
        {"userId": "bert", "numResults": 60},
    )
    assert items_of(by_name) == items_of(by_arn) == long
    assert items_of(smaller) == {"i03", "i09", "i15"}
    expected = {each for n, each in enumerate(ITEM_IDS[:21]) if n % 2 == 0 or n % 6 == 3}
    assert items_of(both) == expected - {"i03"}
    assert len(items_of(without)) == len(ITEM_IDS) - 2


@pytest.mark.parametrize(
    ("members", "status", "code", "message"),
    [
        ({"filterArn": "other"}, 404, "ResourceNotFoundException", "no filter 'other'"),
        ({"filterArn": ARN + "other"}, 404, "ResourceNotFoundException", "no filter 'other'"),
        ({"filterArn": "of-kind"}, 400, "InvalidInputException", "lacks $KIND"),
        (
            {"filterArn": "of-kind", "filterValues": {"KIND": "long"}},
            400,
            "InvalidInputException",
            "filterValues.KIND is 'long', which is wrong at character 1",
        ),
        (
            {"filterArn": "of-kind", "filterValues": {"KIND": '"long"', "kind": '"long"'}},
            400,
            "InvalidInputException",
            "filterValues names 'kind', but the filter takes $KIND, $SIZE",
        ),
        (
            {"filterArn": "of-kind", "filterValues": {"KIND": '"long"', "SIZE": "1,2"}},
            400,
            "InvalidInputException",
            "filterValues.SIZE has 2 values",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_wire(
    tmp_path: Path, members: dict[str, object], status: int, code: str, message: str
) -> None:
    (reply,) = answered(tmp_path, {"userId": "bert", **members})
    assert (reply.status, reply.error) == (status, code)
    assert message in reply.message
