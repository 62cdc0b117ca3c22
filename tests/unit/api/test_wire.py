"""What a good request means, and what an answer looks like."""

import msgspec
import pytest

from raysys.api.arns import campaign_name
from raysys.api.wire import encode_answer, parse_events, parse_recommendations
from raysys.errors import InvalidInputError
from raysys.serving.messages import Answer
from raysys.state.events import Event

NOW_S = 1_800_000_000.0


def test_every_member_of_a_request_is_read() -> None:
    request = parse_recommendations(
        b'{"campaignArn": "films", "userId": "ann", "itemId": "matrix", "numResults": 7,'
        b' "context": {"DEVICE": "phone"}}'
    )
    assert request.campaign_arn == "films"
    assert (request.user_id, request.item_id, request.num_results) == ("ann", "matrix", 7)
    assert request.context == {"DEVICE": "phone"}


def test_every_member_of_an_event_is_read() -> None:
    # The request that boto3 sends, as captured.
    tracking_id, events = parse_events(
        b'{"trackingId": "t-1", "userId": "u1", "sessionId": "s1", "eventList": [{"eventId": "e1",'
        b' "eventType": "click", "itemId": "i1", "eventValue": 4.5, "sentAt": 1767323045.678901,'
        b' "properties": "{\\"numberOfRatings\\": \\"12\\"}", "recommendationId": "RID-1",'
        b' "impression": ["i1", "i2"], "metricAttribution": {"eventAttributionSource": "mail"}}]}',
        now_s=NOW_S,
    )
    assert tracking_id == "t-1"
    assert events == [
        Event(
            user_id="u1",
            session_id="s1",
            item_id="i1",
            event_type="click",
            occurred_at_us=1767323045678901,
            event_id="e1",
            event_value=4.5,
            properties='{"numberOfRatings": "12"}',
            recommendation_id="RID-1",
            impression=("i1", "i2"),
        )
    ]


def test_the_session_stands_for_a_user_who_is_not_known() -> None:
    _, events = parse_events(
        b'{"trackingId": "t", "sessionId": "s1", "eventList": [{"eventType": "e", "sentAt": 0}]}',
        now_s=NOW_S,
    )
    assert events == [Event("s1", "s1", None, "e", 0)]


def test_properties_given_as_an_object_are_kept_as_text() -> None:
    _, [event] = parse_events(
        b'{"trackingId": "t", "sessionId": "s", "eventList": [{"eventType": "e", "sentAt": 0,'
        b' "properties": {"a": [1, "\\u0000"]}}]}',
        now_s=NOW_S,
    )
    assert event.properties == '{"a":[1,"\\u0000"]}'


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        (b"0.000001", 1),
        (b"1767323045", 1_767_323_045_000_000),
        (b"1.5e9", 1_500_000_000_000_000),
        (b"1.000001", 1_000_001),  # a product of 1000000.9999999999, which must not be cut
        (b"1767323045.999999", 1_767_323_045_999_999),
    ],
)
def test_seconds_become_the_nearest_microsecond(seconds: bytes, microseconds: int) -> None:
    _, [event] = parse_events(
        b'{"trackingId": "t", "sessionId": "s", "eventList": [{"eventType": "e", "sentAt": '
        + seconds
        + b"}]}",
        now_s=NOW_S,
    )
    assert event.occurred_at_us == microseconds


def test_an_event_may_come_from_a_clock_that_is_a_day_ahead_and_no_more() -> None:
    def parse(sent_at_s: float) -> None:
        members = f'{{"eventType": "e", "sentAt": {sent_at_s}}}'
        good = '{"eventType": "e", "sentAt": 0}'
        body = f'{{"trackingId": "t", "sessionId": "s", "eventList": [{good}, {members}]}}'
        parse_events(body.encode(), now_s=NOW_S)

    parse(NOW_S + 86_400)
    with pytest.raises(InvalidInputError, match=r"eventList\.2\.member\.sentAt.*future.*divide"):
        parse(NOW_S + 86_401)


@pytest.mark.parametrize(
    "campaign", ["films", "arn:aws:personalize:eu-west-3:000000000000:campaign/films"]
)
def test_a_campaign_is_named_by_its_name_or_its_arn(campaign: str) -> None:
    assert campaign_name(campaign) == "films"


def test_an_answer_has_the_items_in_order_with_their_scores() -> None:
    answer = Answer(["b", "a"], [0.75, 0.25], "RID-1", "r", "model")
    assert encode_answer(answer) == (
        b'{"itemList":[{"itemId":"b","score":0.75},{"itemId":"a","score":0.25}],'
        b'"recommendationId":"RID-1"}'
    )


def test_an_answer_without_scores_has_none() -> None:
    answer = Answer(["b", "ü"], None, "RID-1", "r", "popular")
    expected = '{"itemList":[{"itemId":"b"},{"itemId":"ü"}],"recommendationId":"RID-1"}'
    assert encode_answer(answer) == expected.encode()


def test_a_score_that_is_not_finite_never_reaches_the_wire() -> None:
    scores = [float("inf"), float("nan"), float("-inf"), 0.0]
    body = encode_answer(Answer(["a", "b", "c", "d"], scores, "RID-1", "r", "model"))
    items = msgspec.json.decode(body)["itemList"]
    assert [item["score"] for item in items] == [None, None, None, 0.0]
