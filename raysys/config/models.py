"""The models: what each is made of and how much of a history it reads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raysys.config.base import Config, Share


class LearntHistories(Config):
    """Whose histories are learnt from. All users are answered alike."""

    min_user_history_length_percentile: Share = 0.0
    """Users whose histories are shorter than this share of all users' are not learnt from."""
    max_user_history_length_percentile: Share = 1.0
    """Nor are those whose histories are longer, such as crawlers' with 0.99, the default of Amazon
    Personalize. In MovieLens-100K the longest hundredth are people, with 6 % of what there is to
    learn."""

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> Self:
        low, high = self.min_user_history_length_percentile, self.max_user_history_length_percentile
        if low > high:
            raise ValueError(
                f"min_user_history_length_percentile {low:g} is above "
                f"max_user_history_length_percentile {high:g}, which leaves nobody"
            )
        return self


class AskedInContext(Config):
    """What every model has whose queries follow the context of a request."""

    context: bool = True
    """Move the query by the context of the interaction that is to be found, where the dataset
    declares columns of it."""
    context_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the context, column by column, that a training step does without, so that requests
    that say nothing of theirs get what suits all contexts."""


class SequenceConfig(LearntHistories, AskedInContext):
    """What every model has that reads histories."""

    history_length: int = Field(128, ge=1, le=4096)
    """The newest interactions that the query tower reads when it encodes a query."""
    item_features: bool = True
    """Read what the table of items says, if there is one, beside the ids of items."""
    event_types: bool = True
    """Read the type of each interaction, where the log has more than one, beside its item."""
    time_gaps: bool = True
    """Read how long before each interaction the one before it was, by its order of magnitude. On
    MovieLens-100K that raised a GRU's validation NDCG@10 from 0.1456 to 0.1497 (means of 3 seeds,
    each better than its pair) and left a transformer's where it was (0.1487 without, 0.1480 with,
    means of 2 seeds)."""
    id_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the ids that a step does without, so that features learn to speak for themselves,
    as new items need it. Known items gain nothing: on MovieLens-100K validation NDCG@10 was 0.142
    with 0.1 and 0.143 without. Where there are no features it does nothing."""
    recency_mask: bool = True
    """Weigh each training position by 0.5 ** (age / recency_half_life)."""
    recency_half_life: float = Field(400.0, gt=0)
    """In interactions, counted back from the user's newest."""

    @property
    def half_life(self) -> float | None:
        """What the weights of training positions are halved by; None: they weigh alike."""
        return self.recency_half_life if self.recency_mask else None


class GruConfig(SequenceConfig):
    """The sequential model: a GRU reads the user's history, the last state is the query."""

    kind: Literal["gru"] = "gru"
    hidden_dimension: int = Field(149, ge=8, le=1024)
    """Width of the hidden state, and of the embeddings, which are tied to the output."""
    bptt: int = Field(32, ge=2, le=512)
    """Positions of a training segment; the hidden state crosses segments, gradients do not."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the numbers of each query that a training step does without."""


class TransformerConfig(SequenceConfig):
    """The sequential model of causal attention: each position looks back at what came before."""

    kind: Literal["transformer"] = "transformer"
    hidden_dimension: int = Field(64, ge=8, le=1024)
    """Width of the embeddings, which are tied to the output, and of what passes between layers; the
    model rounds it up to a multiple of 16, as vectors are kept anyway."""
    num_layers: int = Field(2, ge=1, le=32)
    num_heads: int = Field(2, ge=1, le=32)
    """Each reads hidden_dimension / num_heads numbers, rounded up to a multiple of 16."""
    window: int = Field(128, ge=2, le=4096)
    """Positions that are learnt from together; none looks further back while it is learnt."""
    recency_mask: bool = False
    dropout: float = Field(0.25, ge=0, lt=1)


class TwoTowerConfig(AskedInContext):
    """Two towers: a vector of the user and one of the item, scored by their dot product."""

    kind: Literal["two_tower"] = "two_tower"
    embedding_dim: int = Field(32, ge=1, le=1024)
    item_features: bool = True
    """Read what the table of items says, if there is one: new items lie where their kind lies."""
    user_features: bool = True
    """Read what the table of users says, if there is one."""
    hidden_layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field((), max_length=8)
    """Widths of the layers between the features and the vector, in each tower. None: the vector is
    a sum of one vector per feature."""
    id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the ids that a step does without, so that features learn to speak for themselves.
    Where there are no features it does nothing."""
    retrieval_weight: float = Field(0.0, ge=0)
    """With explicit feedback: what it counts to find an item, beside predicting its value. Above 0
    the score ranks, and a head of its own predicts the value; at 0 the score is the value."""
    rating_weight: float = Field(1.0, ge=0)
    """With explicit feedback and a retrieval_weight: what it counts to predict the value."""
    temperature: float = Field(1.0, gt=0)
    logq_correction: bool = True
    remove_accidental_hits: bool = True
    min_user_count: int = Field(1, ge=1)
    """Interactions that a user must have for an embedding of their own."""
    num_user_buckets: int = Field(0, ge=0)
    """Embeddings that all other users share, chosen by a hash of their id; without any theirs is
    zero. One that nobody was in while it was learnt is zero too."""
    history_length: int = Field(128, ge=1, le=4096)
    """Unused by the query itself, which is the user's; kept so that every model has one."""


class ItemToItemConfig(LearntHistories):
    """Items like the newest one: two item towers, learnt from what the same users took."""

    kind: Literal["item_to_item"] = "item_to_item"
    history_length: Literal[1] = 1
    """The query is an item."""
    item_id_hidden_dim: int = Field(100, ge=1, le=1024)
    """Width of the vectors."""
    window: int = Field(10, ge=1, le=1000)
    """Two items are a pair where a user had no more than so many interactions from one to the
    other."""
    popularity_discount_factor: Share = 0.5
    """How much an item is held back for being popular with all: with 0 the score is that of how
    likely the users of the one item take the other, with 1 of how much likelier than anybody."""
    item_features: bool = True
    """Read what the table of items says, if there is one: new items get neighbors of their kind."""
    id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the ids that a step does without, so that features learn to speak for themselves.
    Where there are no features it does nothing."""


class CountedConfig(Config):
    """What every model has that is counted, not learnt: one list for everybody."""

    history_length: Literal[0] = 0
    """Nothing of a history is read."""


class PopularityConfig(CountedConfig):
    """The items that most interactions are with."""

    kind: Literal["popularity_count"] = "popularity_count"
    half_life_days: float | None = Field(None, gt=0)
    """An interaction that is so much older than the newest of all counts half; null: all alike."""


class TrendingConfig(CountedConfig):
    """The items that gain most, against the traffic as a whole."""

    kind: Literal["trending_now"] = "trending_now"
    trend_discovery_frequency: str = Field("2 hours", pattern=r"^[1-9]\d{0,3} (minute|hour|day)s?$")
    """How long the newest window is, and the one before it that it is compared with."""

    @property
    def window_s(self) -> float:
        """The same in seconds."""
        number, unit = self.trend_discovery_frequency.split()
        return int(number) * _SECONDS[unit.removesuffix("s")]


_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}

MemberConfig = Annotated[GruConfig | TransformerConfig, Field(discriminator="kind")]


class EnsembleConfig(Config):
    """Several trained models that rank together: a score is the weighted mean of theirs."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[MemberConfig, ...] = Field(min_length=2, max_length=8)
    weights: tuple[Annotated[float, Field(gt=0)], ...]
    """Of each member; what counts is how they relate."""

    @property
    def history_length(self) -> int:
        """The newest interactions that a member reads, the most of all members."""
        return max(member.history_length for member in self.members)

    @model_validator(mode="after")
    def _every_member_has_a_weight(self) -> Self:
        if len(self.weights) != len(self.members):
            raise ValueError(
                f"{len(self.members)} members need as many weights, but got {len(self.weights)}"
            )
        return self


def reads_event_types(model: "ModelConfig") -> bool:
    """Return whether a model tells interactions apart by their type, where the log has several."""
    if isinstance(model, EnsembleConfig):
        return any(member.event_types for member in model.members)
    return isinstance(model, SequenceConfig) and model.event_types


def reads_context(model: "ModelConfig") -> bool:
    """Return whether a model's queries follow the context, where the dataset declares one."""
    if isinstance(model, EnsembleConfig):
        return any(member.context for member in model.members)
    return isinstance(model, AskedInContext) and model.context


ModelConfig = Annotated[
    GruConfig
    | TransformerConfig
    | TwoTowerConfig
    | ItemToItemConfig
    | PopularityConfig
    | TrendingConfig
    | EnsembleConfig,
    Field(discriminator="kind"),
]
