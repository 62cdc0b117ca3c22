"""What each path does: the operations of the runtime and the events, health and the document."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from raysys.api.arns import campaign_name, check_dataset, filter_name
from raysys.api.asgi import Application, Header, Headers, Response, Route, error_response
from raysys.api.authentication import ONLY_CAMPAIGN, Authenticator
from raysys.api.exploration_headers import parse_exploration
from raysys.api.openapi import openapi_document
from raysys.api.shapes import (
    DEFAULT_NUM_RESULTS,
    PromotionRequest,
    RankingRequest,
    RecommendationsRequest,
)
from raysys.api.wire import (
    encode_answer,
    encode_ranking,
    parse_events,
    parse_items,
    parse_ranking,
    parse_recommendations,
    parse_users,
)
from raysys.config import ServingConfig
from raysys.errors import (
    AccessDeniedError,
    InvalidInputError,
    RaysysError,
    RequestError,
    UnavailableError,
)
from raysys.serving.key_ring import KeyRing
from raysys.serving.messages import Answer, Promotion, Query, RankQuery, Recommender

_STRANGERS_WAIT_S = 1.0
_NOT_READY = error_response(
    UnavailableError("Not ready. Those who show a key are told which parts are away.")
)


def build_asgi(
    engine: Recommender,
    config: ServingConfig,
    keys: KeyRing | None = None,
    extra_routes: Sequence[Route] = (),
) -> Application:
    """Return the ASGI application that puts `engine` on the wire. Starts nothing.

    Args:
        keys: those that clients have to show once it says so; None: nobody needs one.
        extra_routes: pass through the same door, with its limits and its errors; they are not in
            the OpenAPI document.
    """
    return Application(
        [*_Operations(engine, config).routes(), *extra_routes],
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
        guard=None if keys is None else Authenticator(keys),
        on_error=engine.refused,
    )


class _Operations:
    def __init__(self, engine: Recommender, config: ServingConfig) -> None:
        self._engine = engine
        self._tracking_id = config.tracking_id
        self._dataset_group = config.dataset_group
        self._told_strangers, self._ask_again_at_s = _NOT_READY, 0.0
        self._document = msgspec.json.encode(openapi_document(config.max_body_bytes))

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/recommendations", self.get_recommendations, "read"),
            Route("POST", "/personalize-ranking", self.get_personalized_ranking, "read"),
            Route("POST", "/events", self.put_events, "write"),
            Route("POST", "/items", self.put_items, "write"),
            Route("POST", "/users", self.put_users, "write"),
            Route("GET", "/healthz", self.healthz, None),
            Route("GET", "/readyz", self.readyz, "read", stranger=self.is_ready),
            Route("GET", "/openapi.json", self.openapi, None),
        ]

    async def get_recommendations(self, body: bytes, headers: Headers) -> Response:
        request = parse_recommendations(body)
        num_results = request.num_results or DEFAULT_NUM_RESULTS
        wishes = parse_exploration(headers)
        query = Query(
            request.user_id,
            request.item_id,
            num_results,
            request.context or {},
            wishes.weight,
            wishes.seed,
            **_filter_of(request),
            metadata_columns=_columns_of(request),
            promotion=_promotion_of(request),
            campaign=_campaign_of(request.campaign_arn),
            exploration_policy=wishes.policy,
        )
        return self._response(await self._engine.recommend(query), encode_answer)

    async def get_personalized_ranking(self, body: bytes, _: Headers) -> Response:
        request = parse_ranking(body)
        query = RankQuery(
            request.user_id,
            request.input_list,
            request.context or {},
            **_filter_of(request),
            metadata_columns=_columns_of(request),
            campaign=_campaign_of(request.campaign_arn),
        )
        return self._response(await self._engine.rank(query), encode_ranking)

    async def put_events(self, body: bytes, _: Headers) -> Response:
        tracking_id, events = parse_events(body, now_s=time.time())
        if tracking_id != self._tracking_id:
            # The AWS model declares no other error here, so an SDK knows no 404.
            raise InvalidInputError(f"There is no event tracker with trackingId {tracking_id!r}.")
        await self._engine.put_events(events)
        return Response(b"")

    async def put_items(self, body: bytes, _: Headers) -> Response:
        dataset_arn, items = parse_items(body, now_s=time.time())
        check_dataset(dataset_arn, self._dataset_group, "ITEMS")
        await self._engine.put_items(items)
        return Response(b"")

    async def put_users(self, body: bytes, _: Headers) -> Response:
        dataset_arn, users = parse_users(body)
        check_dataset(dataset_arn, self._dataset_group, "USERS")
        await self._engine.put_users(users)
        return Response(b"")

    async def healthz(self, _body: bytes, _: Headers) -> Response:
        return Response(b'{"status":"ok"}')

    async def readyz(self, _body: bytes, _: Headers) -> Response:
        try:
            served = await self._engine.ready()
        except RequestError:
            raise
        except RaysysError as error:
            raise UnavailableError(str(error)) from error
        return self._ready(served)

    async def is_ready(self, _body: bytes, _: Headers) -> Response:
        """Answer a load balancer that has no key: no word of the parts and of what they hold.

        The parts are asked once a second at most, however many strangers ask.
        """
        now_s = time.monotonic()
        if now_s >= self._ask_again_at_s:
            self._ask_again_at_s = now_s + _STRANGERS_WAIT_S
            try:
                served = await self._engine.ready()
                self._told_strangers = self._ready({"campaigns": _without_numbers(served)})
            except RaysysError:
                self._told_strangers = _NOT_READY
        return self._told_strangers

    def _ready(self, served: Mapping[str, Any]) -> Response:
        return Response(msgspec.json.encode({"status": "ready", **served}))

    async def openapi(self, _body: bytes, _: Headers) -> Response:
        return Response(self._document)

    def _response(self, answer: Answer, encode: Callable[[Answer], bytes]) -> Response:
        began = time.perf_counter()
        response = Response(encode(answer), _headers(answer))
        self._engine.serialised(answer, time.perf_counter() - began)
        return response


def _campaign_of(campaign_arn: str | None) -> str | None:
    """Return the campaign that is asked, None where the request leaves that open.

    Raises:
        AccessDeniedError: the key that was shown is good for another one alone.
    """
    only = ONLY_CAMPAIGN.get()
    name = only if campaign_arn is None else campaign_name(campaign_arn)
    if only is not None and name != only:
        raise AccessDeniedError(
            f"The key is for the campaign {only!r} alone, and the request asks {name!r}."
        )
    return name


def _without_numbers(served: Mapping[str, Any]) -> dict[str, Any]:
    """Return which releases the campaigns answer from, and nothing of what those hold."""
    return {
        name: {"version": campaign["version"], "releases": dict.fromkeys(campaign["releases"], {})}
        for name, campaign in served["campaigns"].items()
    }


def _columns_of(request: RecommendationsRequest | RankingRequest) -> Sequence[str]:
    return (request.metadata_columns or {}).get("ITEMS", ())


def _promotion_of(request: RecommendationsRequest) -> Promotion | None:
    if not request.promotions:
        return None
    [asked] = request.promotions
    return Promotion(asked.name, asked.percent_promoted_items, **_filter_of(asked))


def _filter_of(
    request: RecommendationsRequest | RankingRequest | PromotionRequest,
) -> dict[str, Any]:
    """Return the filter that a request names, as members of a query."""
    if request.filter_arn is None:
        return {}
    name = filter_name(request.filter_arn)
    return {"filter_name": name, "filter_values": request.filter_values or {}}


def _headers(answer: Answer) -> tuple[Header, ...]:
    headers: list[Header] = [
        (b"x-raysys-release", answer.release.encode()),
        (b"x-raysys-source", answer.source.encode()),
    ]
    if answer.reason is not None:
        headers.append((b"x-raysys-reason", answer.reason.encode()))
    if answer.degraded:
        headers.append((b"x-raysys-degraded", b"true"))
    if answer.seed is not None:
        headers.append((b"x-raysys-seed", b"%d" % answer.seed))
    if answer.delta_version is not None:
        headers.append((b"x-raysys-items", b"%d" % answer.delta_version))
    return tuple(headers)
