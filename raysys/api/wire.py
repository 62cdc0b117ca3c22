"""Bytes of the wire into checked messages, and answers into bytes.

A body that fits is checked by msgspec alone, in a few microseconds on the event loop; why another
does not fit is found out afterwards.
"""

from collections.abc import Iterable
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from raysys.api.shapes import (
    DEFAULT_NUM_RESULTS,
    MAX_ITEM_PROPERTIES_LENGTH,
    MAX_NUM_WITH_METADATA,
    MAX_PROPERTIES_LENGTH,
    MAX_USER_PROPERTIES_LENGTH,
    SECONDS_HINT,
    ErrorAnswer,
    EventsRequest,
    ItemsRequest,
    PredictedItem,
    PromotionRequest,
    RankingAnswer,
    RankingRequest,
    RecommendationsAnswer,
    RecommendationsRequest,
    UsersRequest,
)
from raysys.api.violations import explain_violations, refusal
from raysys.errors import InvalidInputError, ResourceNotFoundError
from raysys.serving.messages import Answer
from raysys.state.events import Event
from raysys.state.items import Item
from raysys.state.users import NOTHING_SAID, User

ShapeT = TypeVar(
    "ShapeT", RecommendationsRequest, RankingRequest, EventsRequest, ItemsRequest, UsersRequest
)

_RECOMMENDATIONS = msgspec.json.Decoder(RecommendationsRequest)
_RANKING = msgspec.json.Decoder(RankingRequest)
_EVENTS = msgspec.json.Decoder(EventsRequest)
_ITEMS = msgspec.json.Decoder(ItemsRequest)
_USERS = msgspec.json.Decoder(UsersRequest)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

_CREATION_TIME_KEYS = ("creationTimestamp", "CREATION_TIMESTAMP")
_LARGEST_CLOCK_ERROR_S = 86_400


def parse_recommendations(body: bytes) -> RecommendationsRequest:
    """Return the request for recommendations, all members within their bounds.

    Raises:
        InvalidInputError: the body is not one; the message names each member that is wrong.
        ResourceNotFoundError: it names a recommender, of which there are none.
    """
    request = _parsed(body, _RECOMMENDATIONS)
    _check_filter_is_named(request)
    if request.recommender_arn is not None:
        raise ResourceNotFoundError(
            f"There is no recommender {request.recommender_arn[:256]!r} here; name a campaign."
        )
    for promotion in request.promotions or ():
        _check_filter_is_named(promotion)
    if request.metadata_columns:
        _check_number_with_metadata(request.num_results or DEFAULT_NUM_RESULTS, "numResults")
    return request


def parse_ranking(body: bytes) -> RankingRequest:
    """Return the request to rank a list, all members within their bounds.

    Raises:
        InvalidInputError: the body is not one; the message names each member that is wrong.
    """
    request = _parsed(body, _RANKING)
    _check_filter_is_named(request)
    if request.metadata_columns:
        _check_number_with_metadata(len(request.input_list), "inputList")
    return request


def _check_filter_is_named(
    request: RecommendationsRequest | RankingRequest | PromotionRequest,
) -> None:
    if request.filter_values and request.filter_arn is None:
        raise InvalidInputError(
            "1 validation error detected: filterValues are given, but no filterArn says whose; "
            "without it nothing would be filtered"
        )


def _check_number_with_metadata(number: int, path: str) -> None:
    if number > MAX_NUM_WITH_METADATA:
        constraint = f"be at most {MAX_NUM_WITH_METADATA} where metadataColumns are asked for"
        raise refusal(number, path, constraint)


def parse_events(body: bytes, *, now_s: float) -> tuple[str, list[Event]]:
    """Return the tracking id and the events, 1 to 10; InvalidInputError when the body is not that.

    Without a user id the session id stands for the user. An event of more than a day after now is
    none: it would stay the newest of its user's history, whatever the user does until then.
    """
    request = _parsed(body, _EVENTS)
    for number, event in enumerate(request.event_list, start=1):
        if event.sent_at > now_s + _LARGEST_CLOCK_ERROR_S:
            path = f"eventList.{number}.member.sentAt"
            raise refusal(event.sent_at, path, f"not lie in the future. {SECONDS_HINT}")
    user_id = request.session_id if request.user_id is None else request.user_id
    events = [
        Event(
            user_id=user_id,
            session_id=request.session_id,
            item_id=event.item_id,
            event_type=event.event_type,
            occurred_at_us=round(event.sent_at * 1_000_000),
            event_id=event.event_id,
            event_value=event.event_value,
            properties=_properties_text(
                event.properties, f"eventList.{number}", MAX_PROPERTIES_LENGTH
            ),
            recommendation_id=event.recommendation_id,
            impression=None if event.impression is None else tuple(event.impression),
        )
        for number, event in enumerate(request.event_list, start=1)
    ]
    return request.tracking_id, events


def parse_items(body: bytes, *, now_s: float) -> tuple[str, list[Item]]:
    """Return the dataset's ARN and the items, 1 to 10; InvalidInputError when the body is not that.

    An item whose properties have no creation time has none here.
    """
    request = _parsed(body, _ITEMS)
    items = []
    for number, item in enumerate(request.items, start=1):
        path = f"items.{number}"
        text = _properties_text(item.properties, path, MAX_ITEM_PROPERTIES_LENGTH)
        created_at_us = None if text is None else _created_at_us(text, path, now_s)
        items.append(Item(item.item_id, text, created_at_us))
    return request.dataset_arn, items


def parse_users(body: bytes) -> tuple[str, list[User]]:
    """Return the dataset's ARN and the users, 1 to 10; InvalidInputError when the body is not that.

    A user without properties is one of whom nothing is known.
    """
    request = _parsed(body, _USERS)
    users = [
        User(
            user.user_id,
            _properties_text(user.properties, f"users.{number}", MAX_USER_PROPERTIES_LENGTH)
            or NOTHING_SAID,
        )
        for number, user in enumerate(request.users, start=1)
    ]
    return request.dataset_arn, users


def encode_answer(answer: Answer) -> bytes:
    """Return the body for an answer. A score that is not finite becomes null: none at all."""
    return _ENCODER.encode(RecommendationsAnswer(_items_of(answer), answer.recommendation_id))


def encode_ranking(answer: Answer) -> bytes:
    """Return the body for a ranked list."""
    return _ENCODER.encode(RankingAnswer(_items_of(answer), answer.recommendation_id))


def _items_of(answer: Answer) -> list[PredictedItem]:
    reasons: Iterable[list[str] | None] | None = None
    if answer.item_reasons is not None:
        reasons = (None if reason is None else [reason] for reason in answer.item_reasons)
    columns = [answer.scores, reasons, answer.item_metadata, answer.promotion_names]
    while columns and columns[-1] is None:
        columns.pop()
    members: list[Iterable[Any]] = [repeat(None) if each is None else each for each in columns]
    return list(map(PredictedItem, answer.item_ids, *members))


def encode_error(message: str) -> bytes:
    """Return the body for an error."""
    return _ENCODER.encode(ErrorAnswer(message))


def _parsed(body: bytes, decoder: msgspec.json.Decoder[ShapeT]) -> ShapeT:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInputError(_explained(body, decoder.type, str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The body is not valid JSON in UTF-8: {error}.") from None
    except RecursionError:
        raise InvalidInputError("The body is JSON that is nested too deeply.") from None


def _explained(body: bytes, shape: type, cause: str) -> str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"1 validation error detected: {cause}"
    return explain_violations(value, shape) or f"1 validation error detected: {cause}"


def _properties_text(
    properties: str | dict[str, Any] | None, owner: str, max_length: int
) -> str | None:
    """Return the properties as JSON text: as they came, or those of an object written out."""
    if properties is None:
        return None
    path = f"{owner}.member.properties"
    if isinstance(properties, str):
        try:
            _OBJECT.decode(properties)
        except (msgspec.DecodeError, RecursionError):
            raise refusal(
                properties, path, "be a JSON object, or a string that holds one"
            ) from None
        return properties
    text = _ENCODER.encode(properties).decode()
    if len(text) > max_length:
        raise refusal(properties, path, f"have length less than or equal to {max_length} as JSON")
    return text


def _created_at_us(properties: str, owner: str, now_s: float) -> int | None:
    """Return when the item was created, as its properties say; None where they say nothing."""
    known = _OBJECT.decode(properties)
    for key in _CREATION_TIME_KEYS:
        seconds = known.get(key)
        if seconds is None:
            continue
        path = f"{owner}.member.properties.{key}"
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise refusal(seconds, path, "be a number of seconds since 1970")
        if not 0 < seconds <= now_s + _LARGEST_CLOCK_ERROR_S:
            constraint = (
                "lie between 1970 and now, in seconds since 1970 UTC; divide milliseconds by 1000"
            )
            raise refusal(seconds, path, constraint)
        return round(seconds * 1_000_000)
    return None
