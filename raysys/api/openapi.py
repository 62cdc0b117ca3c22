"""The OpenAPI 3.1 document; its schemas come from the shapes that requests are checked with."""

import functools
from typing import Any, get_args

import msgspec

import raysys
from raysys.api.exploration_headers import LARGEST_SEED, POLICY, SEED, WEIGHT
from raysys.api.shapes import (
    ErrorAnswer,
    EventsRequest,
    ItemsRequest,
    RankingAnswer,
    RankingRequest,
    RecommendationsAnswer,
    RecommendationsRequest,
    UsersRequest,
)
from raysys.config import ExplorationPolicy

_COMPONENTS = "#/components/schemas/{name}"


def openapi_document(max_body_bytes: int) -> dict[str, Any]:
    """Return the document for every path of the API, as a JSON value."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "raysys",
            "version": raysys.__version__,
            "description": (
                "Recommendations and events in the wire format of Amazon Personalize's runtime "
                "and events services: AWS SDKs work with this server as their endpoint. Whether "
                "requests need a key is the operator's setting."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/recommendations": {"post": _get_recommendations(max_body_bytes)},
            "/personalize-ranking": {"post": _get_ranking(max_body_bytes)},
            "/events": {"post": _put_events(max_body_bytes)},
            "/items": {"post": _put_items(max_body_bytes)},
            "/users": {"post": _put_users(max_body_bytes)},
            "/healthz": {"get": _health("Say that the process lives", "healthz", ready=False)},
            "/readyz": {"get": _health("Say what is served", "readyz", ready=True)},
            "/openapi.json": {"get": _document()},
        },
        "components": {"schemas": _schemas(), "securitySchemes": _security_schemes()},
    }


@functools.cache
def _schemas() -> dict[str, Any]:
    """Return the shapes by name; to look into every annotation takes some milliseconds."""
    shapes = (
        RecommendationsRequest,
        RecommendationsAnswer,
        RankingRequest,
        RankingAnswer,
        EventsRequest,
        ItemsRequest,
        UsersRequest,
        ErrorAnswer,
    )
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_COMPONENTS)
    return schemas


def _security_schemes() -> dict[str, Any]:
    return {
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "AWS Signature Version 4, service `personalize`, as AWS SDKs make it",
        },
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token of raysys's own"},
    }


def _security(*, is_optional: bool = False) -> list[dict[str, list[str]]]:
    """Return the ways to show a key, and, where it is optional, that of showing none."""
    return [{"signature": []}, {"bearer": []}, *([{}] if is_optional else [])]


def _get_recommendations(max_body_bytes: int) -> dict[str, Any]:
    return {
        "operationId": "GetRecommendations",
        "security": _security(),
        "summary": "Recommend items to a user, items like another item, or what is popular",
        "parameters": [
            _parameter(
                WEIGHT.decode(),
                "Chance of each place of a user's list to explore a fresh item, instead of the "
                "server's own; 0 is the relevance order",
                {"type": "number", "minimum": 0, "maximum": 1},
            ),
            _parameter(
                POLICY.decode(),
                "What a place that explores draws, instead of the server's own: what the model "
                "likes and what is little known, any fresh item, or nothing",
                {"type": "string", "enum": list(get_args(ExplorationPolicy))},
            ),
            _parameter(
                SEED.decode(),
                "Of the draws: as long as nothing else changes, one seed gives one list",
                {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED},
            ),
        ],
        "requestBody": _request_body("RecommendationsRequest"),
        "responses": {
            "200": {
                "description": "The items, best first",
                "headers": {
                    **_answer_headers("model", "popular", "trending", "similar-items"),
                    "x-raysys-seed": _header("Of the draws; present when the list could explore"),
                    "x-raysys-items": _header(
                        "How many changes of the items it knows; present when the list could "
                        "explore, or items were put or hidden since the release"
                    ),
                },
                "content": _json("RecommendationsAnswer"),
            },
            **_errors(400, 403, 404, 405, 408, 413, 429, 500, 503, max_body_bytes=max_body_bytes),
        },
    }


def _get_ranking(max_body_bytes: int) -> dict[str, Any]:
    return {
        "operationId": "GetPersonalizedRanking",
        "security": _security(),
        "summary": "Put a list of items into the order that a user would like",
        "requestBody": _request_body("RankingRequest"),
        "responses": {
            "200": {
                "description": "The whole list, best first; what cannot be scored at its end",
                "headers": _answer_headers("model", "popular", "trending"),
                "content": _json("RankingAnswer"),
            },
            **_errors(400, 403, 404, 405, 408, 413, 429, 500, 503, max_body_bytes=max_body_bytes),
        },
    }


def _answer_headers(*sources: str) -> dict[str, Any]:
    return {
        **_request_id(),
        "x-raysys-release": _header("The release that chose the items"),
        "x-raysys-source": _header("What chose them", enum=[*sources]),
        "x-raysys-reason": _header("Why the source is not the one that was asked for"),
        "x-raysys-degraded": _header(
            "Present when a part was away, so that items may be missing", enum=["true"]
        ),
    }


def _put_events(max_body_bytes: int) -> dict[str, Any]:
    return {
        "operationId": "PutEvents",
        "security": _security(),
        "summary": "Store what a user did; the next answer to the user takes it into account",
        "requestBody": _request_body("EventsRequest"),
        "responses": {
            "200": {"description": "The events are committed", "headers": _request_id()},
            **_errors(400, 403, 405, 408, 413, 429, 500, 503, max_body_bytes=max_body_bytes),
        },
    }


def _put_items(max_body_bytes: int) -> dict[str, Any]:
    return {
        "operationId": "PutItems",
        "security": _security(),
        "summary": "Store items that the release does not know, or what is new about them",
        "requestBody": _request_body("ItemsRequest"),
        "responses": {
            "200": {
                "description": "The items are committed; users' lists may explore them soon after",
                "headers": _request_id(),
            },
            **_errors(400, 403, 404, 405, 408, 413, 429, 500, 503, max_body_bytes=max_body_bytes),
        },
    }


def _put_users(max_body_bytes: int) -> dict[str, Any]:
    return {
        "operationId": "PutUsers",
        "security": _security(),
        "summary": "Store what is known of users; the next answer to each takes it into account",
        "requestBody": _request_body("UsersRequest"),
        "responses": {
            "200": {"description": "The users are committed", "headers": _request_id()},
            **_errors(400, 403, 404, 405, 408, 413, 429, 500, 503, max_body_bytes=max_body_bytes),
        },
    }


def _health(summary: str, operation_id: str, *, ready: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {"status": {"const": "ready" if ready else "ok"}}
    if ready:
        properties["campaigns"] = {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"version": {"type": "integer"}, "releases": {"type": "object"}},
                "required": ["version", "releases"],
            },
        }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "operationId": operation_id,
        "summary": summary,
        "responses": {
            "200": {
                "description": "Yes",
                "headers": _request_id(),
                "content": {"application/json": {"schema": schema}},
            },
            **(_errors(400, 403, 405, 500, 503) if ready else _errors(405)),
        },
        **({"security": _security(is_optional=True)} if ready else {}),
    }


def _document() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "summary": "This document",
        "responses": {
            "200": {
                "description": "OpenAPI 3.1",
                "headers": _request_id(),
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_errors(405),
        },
    }


_ERRORS: dict[int, tuple[str, list[str]]] = {
    400: (
        "The request is malformed or a member is out of bounds",
        ["InvalidInputException", "IncompleteSignatureException"],
    ),
    403: (
        "Nobody knows who asks, or the key is not for this",
        [
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "ExpiredTokenException",
            "AccessDeniedException",
        ],
    ),
    404: ("What the request names does not exist", ["ResourceNotFoundException"]),
    405: ("The path does not take this method", ["MethodNotAllowedException"]),
    408: ("The body did not end in time", ["RequestTimeoutException"]),
    413: ("The body is larger than {max_body_bytes} bytes", ["RequestTooLargeException"]),
    429: ("Too many requests wait; SDKs try again", ["ThrottlingException"]),
    500: ("The server failed; its log has the request id", ["InternalFailure"]),
    503: ("A part is away; SDKs try again", ["ServiceUnavailableException"]),
}


def _errors(*statuses: int, max_body_bytes: int | None = None) -> dict[str, Any]:
    return {
        str(status): {
            "description": _ERRORS[status][0].format(max_body_bytes=max_body_bytes),
            "headers": {
                **_request_id(),
                "x-amzn-errortype": _header("The error's class", enum=_ERRORS[status][1]),
                **(
                    {"Retry-After": _header("Seconds after which to try again")}
                    if status in (429, 503)
                    else {}
                ),
            },
            "content": _json("ErrorAnswer"),
        }
        for status in statuses
    }


def _request_id() -> dict[str, Any]:
    return {"x-amzn-RequestId": _header("Names this request in the server's log")}


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _header(description: str, *, enum: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if enum is not None:
        schema["enum"] = enum
    return {"description": description, "schema": schema}


def _request_body(name: str) -> dict[str, Any]:
    return {"required": True, "content": _json(name)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _COMPONENTS.format(name=name)}}}
