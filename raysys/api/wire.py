"""Bytes of the wire into checked messages, and answers into bytes.

A body that fits is checked by msgspec alone, in a few microseconds on the event loop; why another
does not fit is found out afterwards.
"""

import re
from collections.abc import Iterable
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from raysys.api.shapes import (
    MAX_PROPERTIES_LENGTH,
    ErrorAnswer,
    EventRequest,
    EventsRequest,
    PredictedItem,
    RecommendationsAnswer,
    RecommendationsRequest,
)
from raysys.api.violations import explain_violations, violation
from raysys.errors import InvalidInputError, ResourceNotFoundError
from raysys.serving.messages import Answer
from raysys.state.events import Event

ShapeT = TypeVar("ShapeT", RecommendationsRequest, EventsRequest)

_RECOMMENDATIONS = msgspec.json.Decoder(RecommendationsRequest)
_EVENTS = msgspec.json.Decoder(EventsRequest)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

_CAMPAIGN_ARN = re.compile(r"arn:[a-z\d-]+:personalize:[^:]*:[^:]*:campaign/([^:/]+)")


def parse_recommendations(body: bytes) -> RecommendationsRequest:
    """Return the request for recommendations, all members within their bounds.

    Raises:
        InvalidInputError: the body is not one; the message names each member that is wrong.
        ResourceNotFoundError: it names a filter or a recommender, of which there are none.
    """
    request = _parsed(body, _RECOMMENDATIONS)
    if request.user_id is None and request.item_id is None:
        raise InvalidInputError(
            "1 validation error detected: userId and itemId are both null; give userId for what a "
            "user may like, or itemId for items like another one"
        )
    if request.filter_arn is not None:
        raise ResourceNotFoundError(f"There is no filter {request.filter_arn[:256]!r} here.")
    if request.recommender_arn is not None:
        raise ResourceNotFoundError(
            f"There is no recommender {request.recommender_arn[:256]!r} here; name a campaign."
        )
    for name, value in (
        ("promotions", request.promotions),
        ("metadataColumns", request.metadata_columns),
    ):
        if value:
            raise InvalidInputError(f"This server does not know {name}; leave it out.")
    return request


def parse_events(body: bytes) -> tuple[str, list[Event]]:
    """Return the tracking id and the events, 1 to 10; InvalidInputError when the body is not that.

    Without a user id the session id stands for the user.
    """
    request = _parsed(body, _EVENTS)
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
            properties=_properties_text(event, number),
            recommendation_id=event.recommendation_id,
            impression=None if event.impression is None else tuple(event.impression),
        )
        for number, event in enumerate(request.event_list, start=1)
    ]
    return request.tracking_id, events


def campaign_name(campaign: str) -> str:
    """Return the name in a campaign's ARN; what is no ARN is a name already.

    Raises:
        InvalidInputError: an ARN of something else.
    """
    if not campaign.startswith("arn:"):
        return campaign
    match = _CAMPAIGN_ARN.fullmatch(campaign)
    if match is None:
        constraint = (
            "be a campaign's name, or its ARN arn:aws:personalize:REGION:ACCOUNT:campaign/NAME"
        )
        raise InvalidInputError(
            f"1 validation error detected: {violation(campaign, 'campaignArn', constraint)}"
        )
    return match.group(1)


def encode_answer(answer: Answer) -> bytes:
    """Return the body for an answer. A score that is not finite becomes null: none at all."""
    members: list[Iterable[Any]] = [answer.item_ids]
    members.append(repeat(None) if answer.scores is None else answer.scores)
    if answer.item_reasons is not None:
        members.append(None if reason is None else [reason] for reason in answer.item_reasons)
    items = list(map(PredictedItem, *members))
    return _ENCODER.encode(RecommendationsAnswer(items, answer.recommendation_id))


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


def _properties_text(event: EventRequest, number: int) -> str | None:
    """Return the properties as JSON text: as they came, or those of an object written out."""
    properties = event.properties
    if properties is None:
        return None
    path = f"eventList.{number}.member.properties"
    if isinstance(properties, str):
        try:
            _OBJECT.decode(properties)
        except (msgspec.DecodeError, RecursionError):
            constraint = "be a JSON object, or a string that holds one"
            raise InvalidInputError(
                f"1 validation error detected: {violation(properties, path, constraint)}"
            ) from None
        return properties
    text = _ENCODER.encode(properties).decode()
    if len(text) > MAX_PROPERTIES_LENGTH:
        constraint = f"have length less than or equal to {MAX_PROPERTIES_LENGTH} as JSON"
        raise InvalidInputError(
            f"1 validation error detected: {violation(properties, path, constraint)}"
        )
    return text
