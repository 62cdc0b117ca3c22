"""The shapes of requests and answers, with every bound that a client must keep.

They are read in three ways: msgspec checks a body against them, `violations` tells a client what
does not fit, and the OpenAPI document shows them. A member that is null counts as absent.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

MAX_NUM_RESULTS = 500
DEFAULT_NUM_RESULTS = 25
MAX_NUM_WITH_METADATA = 50
MAX_METADATA_COLUMNS = 10
MAX_PROPERTIES_LENGTH = 1024
MAX_ITEM_PROPERTIES_LENGTH = 32_000
MAX_USER_PROPERTIES_LENGTH = 24_000
YEAR_9999_S = 253_370_764_800
"""Seconds from 1970 to the year 9999: past it are milliseconds that were taken for seconds."""

# `$` alone would let a final line break through, both here and in a client's regular expressions.
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]*$(?!\n)"
_ATTRIBUTE_NAME = r"^[A-Za-z0-9_]+$(?!\n)"

SECONDS_HINT = (
    "Time is given in seconds since 1970 UTC, fractions allowed; divide milliseconds by 1000"
)

Id = Annotated[str, Meta(min_length=1, max_length=256, pattern=_NO_CONTROL_CHARACTERS)]
ItemIds = Annotated[list[Id], Meta(min_length=1, max_length=25)]
Seconds = Annotated[float, Meta(ge=0, lt=YEAR_9999_S, extra={"hint": SECONDS_HINT})]
NumResults = Annotated[
    int, Meta(ge=1, le=MAX_NUM_RESULTS, description=f"{DEFAULT_NUM_RESULTS} when absent")
]
Context = Annotated[
    dict[
        Annotated[str, Meta(max_length=150, pattern=_ATTRIBUTE_NAME)],
        Annotated[str, Meta(max_length=1000)],
    ],
    Meta(max_length=150),
]
FilterValues = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=50, pattern=_ATTRIBUTE_NAME)],
        Annotated[str, Meta(max_length=1000)],
    ],
    Meta(max_length=25),
]
MetadataColumns = Annotated[
    dict[
        Annotated[str, Meta(pattern=r"^ITEMS$(?!\n)")],
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=150)]],
            Meta(max_length=MAX_METADATA_COLUMNS),
        ],
    ],
    Meta(description="The values of these columns come with each item"),
]
ResourceName = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$(?!\n)")
]
PropertiesText = Annotated[str, Meta(min_length=1, max_length=MAX_PROPERTIES_LENGTH)]
ItemPropertiesText = Annotated[str, Meta(min_length=1, max_length=MAX_ITEM_PROPERTIES_LENGTH)]
UserPropertiesText = Annotated[str, Meta(min_length=1, max_length=MAX_USER_PROPERTIES_LENGTH)]
RecommendationId = Annotated[str, Meta(min_length=1, max_length=40, pattern=_NO_CONTROL_CHARACTERS)]


class PromotionRequest(Struct, rename="camel"):
    """One member of `promotions`: a share of the list, kept for items that pass a filter."""

    name: ResourceName
    percent_promoted_items: Annotated[int, Meta(ge=1, le=100)]
    filter_arn: Id | None = None
    filter_values: FilterValues | None = None


class RecommendationsRequest(Struct, rename="camel"):
    """What `POST /recommendations` takes: `userId`, `itemId` or both; neither where the campaign's
    recipe has one list for everybody."""

    campaign_arn: Id | None = None
    user_id: Id | None = None
    item_id: Id | None = None
    num_results: NumResults | None = None
    context: Context | None = None
    filter_arn: Id | None = None
    filter_values: FilterValues | None = None
    metadata_columns: MetadataColumns | None = None
    promotions: Annotated[list[PromotionRequest], Meta(max_length=1)] | None = None
    # Belongs to the AWS shape, and is refused by name.
    recommender_arn: str | None = None


class RankingRequest(Struct, rename="camel"):
    """What `POST /personalize-ranking` takes."""

    campaign_arn: Id
    input_list: Annotated[list[Id], Meta(min_length=1, max_length=MAX_NUM_RESULTS)]
    user_id: Id
    context: Context | None = None
    filter_arn: Id | None = None
    filter_values: FilterValues | None = None
    metadata_columns: MetadataColumns | None = None


class MetricAttributionRequest(Struct, rename="camel"):
    """Where an event comes from, in the client's words. It is checked, and not kept."""

    event_attribution_source: Annotated[
        str, Meta(max_length=1024, pattern=r"^ *[\x21-\x7e][\x20-\x7e]*$(?!\n)")
    ]


class EventRequest(Struct, rename="camel"):
    """One member of `eventList`."""

    event_type: Id
    sent_at: Seconds
    event_id: Id | None = None
    item_id: Id | None = None
    event_value: float | None = None
    properties: PropertiesText | dict[str, Any] | None = None
    recommendation_id: RecommendationId | None = None
    impression: ItemIds | None = None
    metric_attribution: MetricAttributionRequest | None = None


class EventsRequest(Struct, rename="camel"):
    """What `POST /events` takes. Without `userId` the session stands for the user, until it joins
    the one whom the first event with both names."""

    tracking_id: Id
    session_id: Id
    event_list: Annotated[list[EventRequest], Meta(min_length=1, max_length=10)]
    user_id: Id | None = None


class ItemRequest(Struct, rename="camel"):
    """One member of `items`. `creationTimestamp` among its properties is in seconds since 1970."""

    item_id: Id
    properties: ItemPropertiesText | dict[str, Any] | None = None


class ItemsRequest(Struct, rename="camel"):
    """What `POST /items` takes."""

    dataset_arn: Id
    items: Annotated[list[ItemRequest], Meta(min_length=1, max_length=10)]


class UserRequest(Struct, rename="camel"):
    """One member of `users`."""

    user_id: Id
    properties: UserPropertiesText | dict[str, Any] | None = None


class UsersRequest(Struct, rename="camel"):
    """What `POST /users` takes."""

    dataset_arn: Id
    users: Annotated[list[UserRequest], Meta(min_length=1, max_length=10)]


class PredictedItem(Struct, rename="camel", omit_defaults=True):
    """One item. `score` is absent where there is none; `reason` where the model ranked it;
    `metadata` where none was asked for, and of it what is not known of the item; `promotionName`
    where it was not promoted."""

    item_id: str
    score: float | None = None
    reason: list[str] | None = None
    metadata: dict[str, str] | None = None
    promotion_name: str | None = None


class RecommendationsAnswer(Struct, rename="camel"):
    """What `POST /recommendations` answers, best item first."""

    item_list: list[PredictedItem]
    recommendation_id: str


class RankingAnswer(Struct, rename="camel"):
    """What `POST /personalize-ranking` answers: the whole list, best item first."""

    personalized_ranking: list[PredictedItem]
    recommendation_id: str


class ErrorAnswer(Struct):
    """The body of every error; its class is in the header `x-amzn-errortype`."""

    message: str
