"""What schemathesis sends by the served OpenAPI document: no answer is 500, and each conforms.

A real HTTP server and the whole engine behind it, over a small index. `make test` tries a few
requests of each kind, always the same; `make soak` many, and others.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysys.api.app import build_asgi
from raysys.api.openapi import openapi_document
from raysys.config import ServingConfig
from raysys.state.filters import NamedFilter
from tests.unit.serving.world import HISTORIES, ITEM_IDS, World

DOCUMENT = openapi_document(ServingConfig().max_body_bytes)
OPERATIONS = [(method, path) for path, item in DOCUMENT["paths"].items() for method in item]
FILTERS = {
    "kinds": "INCLUDE ItemID WHERE Items.KIND IN ($KINDS) IF CurrentUser.AGE > 18 | "
    'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("*")',
    "sizes": 'EXCLUDE ItemID WHERE Items.SIZE > $SIZE | INCLUDE ItemID WHERE Items.KIND = "odd"',
}
ARN = "arn:aws:personalize:us-east-1:000000000000:"
KNOWN: dict[str, list[Any]] = {
    "campaignArn": ["default", ARN + "campaign/default"],
    "datasetArn": [ARN + "dataset/default/ITEMS", ARN + "dataset/default/USERS"],
    "trackingId": ["default"],
    "userId": [*HISTORIES, "nobody"],
    "itemId": [*ITEM_IDS[:5], "new"],
    "filterArn": [*FILTERS],
    "filterValues": [{"KINDS": '"odd","even"'}, {"SIZE": "7"}, {}],
    "metadataColumns": [{"ITEMS": ["KIND"]}, {"ITEMS": ["RAYSYS_BECAUSE_OF"]}],
    "properties": ['{"age": 7, "kind": "odd", "like": 3}', {"AGE": "x"}],
}
a_few = settings(
    max_examples=settings.default.max_examples // 5, suppress_health_check=[*HealthCheck]
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    world = World(tmp_path_factory.mktemp("contract"), fresh=range(30, 61), exploration_weight=0.3)
    for name, expression in FILTERS.items():
        world.store.filters.create(NamedFilter(name, f"arn:{name}", expression, 1))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(build_asgi(world.engine, world.config), log_config=None, ws="none")
    )

    async def serve() -> None:
        await server.serve(sockets=[listener])
        await world.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    listener.close()


@pytest.fixture(scope="module")
def document() -> Any:
    import schemathesis  # a second of CPU time, which those need not pay who only collect tests

    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@a_few
@given(data=st.data())
def test_a_request_by_the_document_gets_an_answer_that_it_has(
    document: Any, url: str, method: str, path: str, data: st.DataObject
) -> None:
    from schemathesis.generation import GenerationMode

    strategy = document[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE)
    case = data.draw(strategy)
    case.body = with_what_there_is(case.body, data)
    check(case, url)


@pytest.mark.parametrize(("method", "path"), [each for each in OPERATIONS if each[0] == "post"])
@a_few
@given(data=st.data())
def test_a_request_against_the_document_is_refused_as_it_says(
    document: Any, url: str, method: str, path: str, data: st.DataObject
) -> None:
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import negative_data_rejection, unsupported_method

    strategy = document[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE)
    check(data.draw(strategy), url, negative_data_rejection, unsupported_method)


def check(case: Any, url: str, *more: Any) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    response = case.call(base_url=url, timeout=20)
    every = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance]
    every += [checks.response_headers_conformance, checks.response_schema_conformance, *more]
    case.validate_response(response, checks=every)


def with_what_there_is(body: Any, data: st.DataObject) -> Any:
    """Let every second member name what there is, or few requests would get beyond the door."""
    if isinstance(body, list):
        return [with_what_there_is(each, data) for each in body]
    if not isinstance(body, dict):
        return body
    return {
        name: data.draw(st.sampled_from(KNOWN[name]))
        if name in KNOWN and data.draw(st.booleans())
        else with_what_there_is(value, data)
        for name, value in body.items()
    }
