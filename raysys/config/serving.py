"""Everything that leads from a release to an answer."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from raysys.config.base import (
    DEFAULT_APPLICATION,
    DEFAULT_CAMPAIGN,
    DEFAULT_DATASET_GROUP,
    Config,
    ExplorationPolicy,
    LabelSelector,
    NumGpus,
    ResourceName,
)
from raysys.config.learning import LearningConfig

Authentication = Literal["auto", "required", "off"]


def _as_yaml_means(value: Any) -> Any:
    """Return "off" for False, which is what YAML makes of a bare `off`."""
    return "off" if value is False else value


class VariantConfig(Config):
    """One of the releases that a campaign answers from."""

    release: str
    """Path of one release, or of the directory that holds releases: then the newest of now."""
    share: float = Field(1.0, gt=0, allow_inf_nan=False)
    """How many of the users get their answers from it, against the shares of the others."""


class CampaignConfig(Config):
    """What one campaign answers from. It may change while it is served.

    `release: PATH` is short for one variant with that release.
    """

    variants: list[VariantConfig] = Field(min_length=1, max_length=20)
    """A user gets the answers of one of them: by a hash of their id, so always of the same."""
    exploration_weight: float | None = Field(None, ge=0, le=1)
    """Chance of each place of a list to explore a fresh item; None: that of the server."""
    exploration_policy: ExplorationPolicy | None = None
    """What a place that explores draws; None: as the server has it."""
    deployed_at: str = Field("", max_length=64)
    """Who deploys the same once more says so by another text here: what is the same in every member
    as what was deployed last changes nothing, not even after a roll-back or a failure."""
    lease_number: int | None = Field(None, ge=1)
    """Said by `raysys learn` alone: under which lease it learnt this (`raysys.state.learning`)."""
    is_rolled_back: bool = False
    """Said by `raysys rollback` alone: nothing is learnt for the campaign until it is deployed
    anew, or what somebody just took back would be served again within hours."""

    @property
    def words(self) -> str:
        """What is equal for equal settings, and for no others."""
        return self.model_dump_json()

    @model_validator(mode="before")
    @classmethod
    def _one_release(cls, given: Any) -> Any:
        if isinstance(given, dict) and "release" in given and "variants" not in given:
            others = {name: value for name, value in given.items() if name != "release"}
            return {**others, "variants": [{"release": given["release"]}]}
        return given

    @field_validator("variants")
    @classmethod
    def _each_once(cls, variants: list[VariantConfig]) -> list[VariantConfig]:
        if len({variant.release for variant in variants}) < len(variants):
            raise ValueError("each release may be named once; give it a larger share instead")
        return variants


class CampaignsConfig(Config):
    """The campaigns of one Serve application: `user_config` of its deployment `Campaigns`."""

    campaigns: dict[ResourceName, CampaignConfig]
    learning: LearningConfig | None = None
    """How one of them learns by itself from what people do; None: it does not."""

    def is_rolled_back(self, campaign: str) -> bool:
        """Say whether somebody rolled a campaign back and did not deploy it since."""
        found = self.campaigns.get(campaign)
        return found is not None and found.is_rolled_back

    @classmethod
    def of_release(cls, path: str) -> Self:
        """Return one campaign, the default one, that answers from one release."""
        campaign = CampaignConfig(variants=[VariantConfig(release=path)])
        return cls(campaigns={DEFAULT_CAMPAIGN: campaign})


class ServingConfig(Config):
    """The arguments of `raysys.api.build:build_app`, one Serve application.

    What it answers from is not among them (`CampaignsConfig`): Serve restarts every part where an
    argument changes.
    """

    database: str = "sqlite:///raysys.db"
    """A SQLAlchemy URL; the events and the users' state live there."""
    dataset_group: ResourceName = DEFAULT_DATASET_GROUP
    """That of the releases; a release of another one is refused."""
    application: ResourceName = DEFAULT_APPLICATION
    """Applications with one database and one dataset group, on one cluster or on several, have
    names of their own: what each answers from is stored under it."""
    tracking_id: str = Field("default", min_length=1, max_length=256)
    """What clients send as `trackingId` with their events."""
    authentication: Annotated[Authentication, BeforeValidator(_as_yaml_means)] = "auto"
    """Whether requests need a key that `raysys keys` made. "auto": where others can reach a port
    that leads here, and everywhere as soon as the dataset group has a key. "required": everywhere.
    "off": nowhere, which is refused where others can reach a port."""
    num_gateways: int = Field(1, ge=1)
    num_encoders: int = Field(1, ge=1)
    num_shards: int = Field(2, ge=1)
    num_replicas_per_shard: int = Field(1, ge=1)
    max_gateways: int | None = Field(None, ge=1)
    """Where it is more than `num_gateways`, Serve adds gateways, and takes them away again, so that
    each has half a batch of requests at a time. None: there are always as many."""
    max_encoders: int | None = Field(None, ge=1)
    """The same of encoders, so that each works for at most 0.7 of the time."""
    max_replicas_per_shard: int | None = Field(None, ge=1)
    """The same of the replicas of each shard."""
    max_batch_size: int = Field(64, ge=1, le=1024)
    """Requests that travel together through encoder and shards."""
    max_queued_requests: int = Field(512, ge=1)
    """Requests of one campaign waiting in one gateway; those beyond are refused with 429."""
    max_requests_per_s: float | None = Field(None, gt=0)
    """Of one campaign's requests for lists and rankings: each gateway lets its share through, a
    second's worth at once, and refuses those beyond with 429. None: as many as come."""
    deadline_s: float = Field(5.0, gt=0)
    """From a request's arrival at the gateway. Parts that would take longer are gone without, and a
    request that has waited so long for its turn is refused with 429."""
    max_seen_items: int = Field(2000, ge=1)
    """The newest distinct items of a user that are never shown to them again."""
    exclude_seen: bool = True
    record: bool = True
    """Store every list as it was shown, with its propensities. Without, no export has them, and
    what fresh items were shown is not counted, so exploration_weight has to be 0."""
    slate_retention_days: float | None = Field(90.0, gt=0, allow_inf_nan=False)
    """Lists that are older are removed from the database while others are stored. None: none."""
    event_retention_days: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Events that came earlier, and that a dataset has taken over since, are removed from the
    database while others are stored. None: none."""
    exploration_weight: float = Field(0.3, ge=0, le=1)
    """Chance of each place of a list to explore a fresh item; requests may name another one."""
    exploration_policy: ExplorationPolicy = "slot-mixture"
    """What a place that explores draws. "slot-mixture": what the model likes, what was clicked more
    than others and what is little known; "thompson-sampling": what a sample of all click rates
    makes best; "epsilon-greedy": any fresh item, all alike; "none": no place explores."""
    exploration_item_age_cut_off: float = Field(30.0, gt=0)
    """In days: items of that age or older are not explored."""
    exploration_temperature: float = Field(1.0, gt=0)
    """Among fresh items: the higher, the less the score for the user counts."""
    exploration_evidence: float = Field(10.0, ge=0)
    """Among fresh items: how much, in scores, it counts that an item was clicked e times as often
    as others, or as seldom."""
    exploration_bonus: float = Field(3.0, ge=0)
    """Among fresh items: how much, in scores, it counts that nothing is known of one."""
    max_body_bytes: int = Field(1 << 20, ge=1024)
    body_timeout_s: float = Field(10.0, gt=0)
    """From the head of a request to the end of its body; one that takes longer gets 408."""
    max_loading_s: float = Field(600, gt=0)
    """What all parts may take together to load what a campaign is to answer from next. If they take
    longer, it goes on with what it has."""
    cpus_per_gateway: float = Field(0.1, ge=0)
    cpus_per_encoder: float = Field(0.1, ge=0)
    cpus_per_shard: float = Field(0.1, ge=0)
    gpus_per_encoder: NumGpus = 0.0
    """More than 0: encoders run on nodes with GPUs, each with this many or this share of one."""
    gpus_per_shard: NumGpus = 0.0
    """More than 0: every replica of a shard runs on a node with GPUs, as encoders do."""
    gateway_nodes: dict[str, LabelSelector] = {}
    """Labels of the nodes that may hold gateways, as `ray start --labels` gives them: a value,
    `in(a, b)`, or either with `!` before it. Empty: any node."""

    @model_validator(mode="after")
    def _events_stay_as_long_as_lists(self) -> Self:
        events, lists = self.event_retention_days, self.slate_retention_days
        if events is not None and self.record and (lists is None or lists > events):
            kept = "for ever" if lists is None else f"for {lists:g} days"
            raise ValueError(
                f"event_retention_days is {events:g}, but lists are kept {kept}: they would look "
                f"as if nobody had clicked on them. Keep events at least as long as lists, or set "
                f"slate_retention_days to {events:g}"
            )
        return self

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for least, most in (
            ("num_gateways", "max_gateways"),
            ("num_encoders", "max_encoders"),
            ("num_replicas_per_shard", "max_replicas_per_shard"),
        ):
            fewest, maximum = getattr(self, least), getattr(self, most)
            if maximum is not None and maximum < fewest:
                raise ValueError(f"{most} is {maximum}, but {least} says at least {fewest}")
        if self.max_requests_per_s is not None and (self.max_gateways or 0) > self.num_gateways:
            raise ValueError(
                f"max_requests_per_s is {self.max_requests_per_s:g}, of which each gateway lets "
                f"its share through, and with max_gateways {self.max_gateways} nobody knows how "
                f"many there are. Leave one of the two out; max_queued_requests limits each gateway"
            )
        return self

    @model_validator(mode="after")
    def _what_explores_is_recorded(self) -> Self:
        if self.exploration_weight and not self.record:
            raise ValueError(
                f"record is off, but exploration_weight is {self.exploration_weight:g}: nobody "
                f"would count what is shown, so that fresh items which nobody takes would be shown "
                f"for ever. Set exploration_weight to 0, or record to true"
            )
        return self
