"""The document describes what is served: all of it, nothing else."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from raysys.api.app import _Operations
from raysys.api.openapi import openapi_document
from raysys.api.shapes import (
    EventRequest,
    EventsRequest,
    ItemRequest,
    ItemsRequest,
    RecommendationsRequest,
    UserRequest,
    UsersRequest,
)
from raysys.errors import AccessDeniedError, AuthenticationError, RequestError
from tests.unit.api.client import CONFIG, FakeEngine, application, call

DOCUMENT = openapi_document(65_536)
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def everything_in(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for member in value.values():
            yield from everything_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from everything_in(member)


def test_it_is_served_as_it_is() -> None:
    assert call(application(), "GET", "/openapi.json").json() == DOCUMENT


def test_every_route_is_in_it_and_it_has_no_other() -> None:
    served = {
        (route.method.lower(), route.path) for route in _Operations(FakeEngine(), CONFIG).routes()
    }
    assert {(method, path) for method, path, _ in operations()} == served


def test_it_has_the_structure_of_openapi_3_1() -> None:
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components"}
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    names = []
    for method, path, operation in operations():
        assert path.startswith("/")
        assert method in METHODS
        assert set(operation) <= {
            "operationId",
            "summary",
            "parameters",
            "requestBody",
            "responses",
            "security",
        }
        for parameter in operation.get("parameters", []):
            assert set(parameter) == {"name", "in", "required", "description", "schema"}
            assert parameter["in"] == "header"
        names.append(operation["operationId"])
        assert ("requestBody" in operation) == (method == "post")
        for status, response in operation["responses"].items():
            assert 200 <= int(status) < 600
            assert response["description"]
            assert set(response) <= {"description", "headers", "content"}
            assert "x-amzn-RequestId" in response["headers"]
            assert ("x-amzn-errortype" in response["headers"]) == (int(status) >= 400)
            for header in response["headers"].values():
                assert header["schema"]["type"] == "string"
            for media_type, content in response.get("content", {}).items():
                assert media_type == "application/json"
                assert set(content) == {"schema"}
    assert len(set(names)) == len(names)


def test_it_says_which_paths_need_a_key_and_how_it_is_shown() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    routes = {route.path: route for route in _Operations(FakeEngine(), CONFIG).routes()}
    errors = {error.code for error in _subclasses(AuthenticationError)} | {AccessDeniedError.code}
    for _, path, operation in operations():
        ways = operation.get("security", [])
        needs, stranger = routes[path].needs, routes[path].stranger
        assert bool(ways) == (needs is not None)
        assert ({} in ways) == (stranger is not None)
        named = {
            code
            for status in ("400", "403")
            for response in [operation["responses"].get(status)]
            if response is not None
            for code in response["headers"]["x-amzn-errortype"]["schema"]["enum"]
        }
        if needs is None:
            assert "403" not in operation["responses"]
        else:
            assert {name for way in ways for name in way} == set(schemes)
            assert errors <= named


def _subclasses(error: type[RequestError]) -> list[type[RequestError]]:
    return [error, *error.__subclasses__()]


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    references = {
        value["$ref"]
        for value in everything_in(DOCUMENT)
        if isinstance(value, dict) and "$ref" in value
    }
    assert references == {f"#/components/schemas/{name}" for name in schemas}


@pytest.mark.parametrize(
    "shape",
    [
        RecommendationsRequest,
        EventsRequest,
        EventRequest,
        ItemsRequest,
        ItemRequest,
        UsersRequest,
        UserRequest,
    ],
)
def test_its_schemas_have_the_members_that_requests_are_checked_for(
    shape: type[msgspec.Struct],
) -> None:
    schema = DOCUMENT["components"]["schemas"][shape.__name__]
    assert set(schema["properties"]) == set(shape.__struct_encode_fields__)


def test_it_states_the_bounds_that_are_kept() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    [num_results, null] = schemas["RecommendationsRequest"]["properties"]["numResults"]["anyOf"]
    assert (num_results["minimum"], num_results["maximum"]) == (1, 500)
    assert null == {"type": "null"}
    events = schemas["EventsRequest"]
    assert events["required"] == ["trackingId", "sessionId", "eventList"]
    assert events["properties"]["eventList"]["maxItems"] == 10
    responses = DOCUMENT["paths"]["/events"]["post"]["responses"]
    assert "65536 bytes" in responses["413"]["description"]
