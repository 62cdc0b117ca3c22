"""Settings: frozen pydantic models that refuse unknown keys and name the nearest known one.

A `PipelineConfig` is everything that leads from a dataset to a release; the resolved one is saved
in the release. `ServingConfig` is everything that leads from a release to an answer.
"""

import difflib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from raysys.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)

DEFAULT_DATASET_GROUP = "default"
ResourceName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,62}$")]

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LabelSelector = Annotated[
    str, Field(pattern=rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$", max_length=1000)
]
"""The value of a label that a node must have, as Ray's label selectors write it."""


def _whole_above_one(num_gpus: float) -> float:
    if num_gpus > 1 and num_gpus != int(num_gpus):
        raise ValueError("a part of a GPU can be had, but above 1 only whole GPUs")
    return num_gpus


NumGpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]


Share = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """The base of every settings model."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class LeaveLastOut(Config):
    """Per user: the last interaction is test, the one before is validation, the rest is train."""

    kind: Literal["leave_last_out"] = "leave_last_out"


class RandomSplit(Config):
    """Rows are drawn at random: `test_share` of them are test, `validation_share` validation."""

    kind: Literal["random"] = "random"
    test_share: float = Field(0.2, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(42, ge=0)


class TimeSplit(Config):
    """The newest `test_share` of all interactions are test, those before them validation.

    The cutoffs are times: an interaction exactly at a cutoff belongs to the later part.
    """

    kind: Literal["time"] = "time"
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.1, ge=0, lt=1)


class UserSplit(Config):
    """Amazon Personalize's: `test_share` of the users are test, and nothing of them is learnt.

    Of such a user the newest `answer_share` is to be found, rounded down but at least one
    interaction, from the rest. Users with one interaction cannot be asked and are always learnt.
    """

    kind: Literal["users"] = "users"
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    """Of the users: who chooses the best epoch. 0: the last one is."""
    answer_share: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(42, ge=0)


class SequentialExamples(Config):
    """TensorFlow Recommenders': up to `max_context` items and the one that followed, drawn apart.

    Every interaction but a user's first is the label of one example; `test_share` of the examples
    are test. Such a split mixes time: a context may hold what is a label elsewhere. A minimum
    rating is the feedback's `event_value_threshold`.
    """

    kind: Literal["sequential"] = "sequential"
    max_context: int = Field(10, ge=1, le=4096)
    min_length: int = Field(3, ge=2)
    """Users with fewer interactions give no examples."""
    test_share: float = Field(0.1, gt=0, lt=1)
    validation_share: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(42, ge=0)


DrawnSplit = RandomSplit | TimeSplit | UserSplit | SequentialExamples
"""Splits in which all users together decide where a part begins."""
SplitConfig = Annotated[LeaveLastOut | DrawnSplit, Field(discriminator="kind")]


class EventType(Config):
    """Events of one type that count, as `eventParametersList` of Amazon Personalize has them."""

    event_type: str = Field(min_length=1, max_length=256)
    """Exactly as the log and the clients write it."""
    event_value_threshold: FiniteFloat | None = None
    """Only events of this type with at least this value count; null: all of them."""
    weight: Share = 1.0
    """How much it counts to find the items of such events. 0: they are read, never to be found."""


class FeedbackConfig(Config):
    """Which events tell of a user's taste, and how much. The rest is as if it had not happened.

    Without any of it every event counts 1. An event without a value fails every threshold.
    """

    kind: Literal["implicit", "explicit"] = "implicit"
    """Explicit: the value of an event, such as a rating, is what a model learns to predict."""
    feedback_threshold: FiniteFloat | None = None
    """Only events with more than this value count, as MySQL HeatWave's option of that name."""
    event_value_threshold: FiniteFloat | None = None
    """Only events with at least this value count, as Amazon Personalize's `eventValueThreshold`."""
    event_types: tuple[EventType, ...] = Field((), max_length=10)
    """Only events of these types count; none named: events of every type, and those without."""
    negative_event_types: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """Events of these types, whatever their value, are neither found nor read; their items count as
    seen."""

    @property
    def selects_everything(self) -> bool:
        """Whether every event counts 1."""
        return self == FeedbackConfig()

    @property
    def gives_labels(self) -> bool:
        """Whether every event that counts must have a value, which is its label."""
        return self.kind == "explicit"

    @property
    def gives_weights(self) -> bool:
        """Whether an event may weigh something else than 1."""
        return bool(self.negative_event_types) or any(
            event_type.weight != 1 for event_type in self.event_types
        )

    @model_validator(mode="after")
    def _a_type_is_named_once(self) -> Self:
        names = [each.event_type for each in self.event_types] + [*self.negative_event_types]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ValueError(f"the event type {twice[0]!r} is named twice")
        return self

    @model_validator(mode="after")
    def _a_feedback_threshold_is_of_implicit_feedback(self) -> Self:
        if self.gives_labels and self.feedback_threshold is not None:
            raise ValueError(
                "a feedback_threshold makes implicit feedback of values; explicit feedback learns "
                "them all. Leave out one of them; event_value_threshold goes with both"
            )
        return self


class SequenceConfig(Config):
    """What every model has that reads histories."""

    history_length: int = Field(128, ge=1, le=4096)
    """The newest interactions that the query tower reads when it encodes a query."""
    min_user_history_length_percentile: Share = 0.0
    """Users whose histories are shorter than this share of all users' are not learnt from."""
    max_user_history_length_percentile: Share = 0.99
    """Nor are those whose histories are longer, such as crawlers'. All are answered alike."""

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> Self:
        low, high = self.min_user_history_length_percentile, self.max_user_history_length_percentile
        if low > high:
            raise ValueError(
                f"min_user_history_length_percentile {low:g} is above "
                f"max_user_history_length_percentile {high:g}, which leaves nobody"
            )
        return self


class GruConfig(SequenceConfig):
    """The sequential model: a GRU reads the user's history, the last state is the query."""

    kind: Literal["gru"] = "gru"
    hidden_dimension: int = Field(149, ge=8, le=1024)
    """Width of the hidden state, and of the embeddings, which are tied to the output."""
    bptt: int = Field(32, ge=2, le=512)
    """Positions of a training segment; the hidden state crosses segments, gradients do not."""
    recency_mask: bool = True
    """Weigh each training position by 0.5 ** (age / recency_half_life)."""
    recency_half_life: float = Field(400.0, gt=0)
    """In interactions, counted back from the user's newest."""
    dropout: float = Field(0.5, ge=0, lt=1)


class TwoTowerConfig(Config):
    """Two towers over ids: a user embedding and an item embedding, scored by dot product."""

    kind: Literal["two_tower"] = "two_tower"
    embedding_dim: int = Field(32, ge=1, le=1024)
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


ModelConfig = Annotated[GruConfig | TwoTowerConfig, Field(discriminator="kind")]


class TrainingConfig(Config):
    """How the model is learnt."""

    optimizer: Literal["adamw", "adagrad"] = "adamw"
    learning_rate: float = Field(4e-3, gt=0)
    learning_rate_decay: bool = True
    """Lower the rate in a straight line, to 0 at the end of max_epochs."""
    reduction: Literal["mean", "sum"] = "mean"
    """Of a step's gradient over its examples. Adagrad's first steps depend on it."""
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(32, ge=1)
    """Users read side by side (sequential models) or interactions (two-tower), over all workers."""
    max_epochs: int = Field(10, ge=1)
    patience: int = Field(4, ge=1)
    """Epochs without a better validation metric after which training stops."""
    gradient_clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient; null leaves it as it is."""
    full_softmax_up_to: int = Field(50_000, ge=1)
    """Catalogues up to this size are scored whole; larger ones against in-batch negatives."""
    num_workers: int = Field(1, ge=1)
    cpus_per_worker: float = Field(1.0, gt=0)
    threads_per_worker: int = Field(1, ge=1)
    """Of torch. Several are faster only where no other program wants their cores."""
    use_gpu: bool = False
    seed: int = Field(42, ge=0)


class EvaluationConfig(Config):
    """What is measured, on the whole catalogue, with seen items left out."""

    ks: tuple[Annotated[int, Field(ge=1)], ...] = (10, 50, 100)
    metric: Literal["ndcg", "hit_rate", "recall", "mrr"] = "ndcg"
    metric_k: int = Field(10, ge=1)
    """Early stopping and comparisons read `<metric>_at_<metric_k>`."""

    @property
    def metric_name(self) -> str:
        """What early stopping and comparisons read, such as `ndcg_at_10`."""
        return f"{self.metric}_at_{self.metric_k}"


class IndexConfig(Config):
    """How candidates are found."""

    factory: str = "Flat"
    """A `faiss.index_factory` string, for inner product."""
    num_partitions: int = Field(4, ge=1, le=1024)
    """Parts that FAISS searches at once. Data of the release; shards are settings of serving."""


class PipelineConfig(Config):
    """Everything that leads from a dataset to a release."""

    feedback: FeedbackConfig = FeedbackConfig()
    split: SplitConfig = LeaveLastOut()
    model: ModelConfig = GruConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()

    @model_validator(mode="after")
    def _the_model_can_learn_the_feedback(self) -> Self:
        if self.feedback.gives_labels and not isinstance(self.model, TwoTowerConfig):
            raise ValueError(
                f"explicit feedback predicts the value of an event, which a {self.model.kind} "
                f"model cannot: it predicts which item comes next. Use a two_tower model, or "
                f"implicit feedback with a feedback_threshold"
            )
        return self

    @model_validator(mode="after")
    def _the_model_can_answer_whom_the_split_asks_for(self) -> Self:
        if isinstance(self.model, TwoTowerConfig) and isinstance(self.split, UserSplit):
            raise ValueError(
                "a two_tower model knows only the users that it has learnt from, but the split "
                "'users' asks it for others. Choose another split, or a model that reads histories"
            )
        return self


class ServingConfig(Config):
    """The arguments of `raysys.api.app:build_app`, one Serve application."""

    release: str
    """Path of one release, or of the directory that holds releases: then the newest is served."""
    database: str = "sqlite:///raysys.db"
    """A SQLAlchemy URL; the events and the users' state live there."""
    dataset_group: ResourceName = DEFAULT_DATASET_GROUP
    """That of the release; a release of another one is refused."""
    campaign: ResourceName = "default"
    tracking_id: str = Field("default", min_length=1, max_length=256)
    """What clients send as `trackingId` with their events."""
    num_gateways: int = Field(1, ge=1)
    num_encoders: int = Field(1, ge=1)
    num_shards: int = Field(2, ge=1)
    num_replicas_per_shard: int = Field(1, ge=1)
    max_batch_size: int = Field(64, ge=1, le=1024)
    """Requests that travel together through encoder and shards."""
    max_queued_requests: int = Field(512, ge=1)
    """Requests waiting in one gateway; those beyond are refused with 429."""
    max_seen_items: int = Field(2000, ge=1)
    """The newest distinct items of a user that are never shown to them again."""
    exclude_seen: bool = True
    exploration_weight: float = Field(0.3, ge=0, le=1)
    """Chance of each place of a list to explore a fresh item; requests may name another one."""
    exploration_item_age_cut_off: float = Field(30.0, gt=0)
    """In days: items of that age or older are not explored."""
    exploration_temperature: float = Field(1.0, gt=0)
    """Among fresh items: the higher, the less the score for the user counts."""
    exploration_bonus: float = Field(3.0, ge=0)
    """Among fresh items: how much, in scores, the unknown counts; divided by what was shown."""
    max_body_bytes: int = Field(1 << 20, ge=1024)
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


def check_dataset_group_name(name: str) -> None:
    """Raise ConfigError unless `name` can be that of a dataset group."""
    try:
        TypeAdapter(ResourceName).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"A dataset group cannot be named {name!r}: 1 to 63 letters, digits, hyphens and "
            f"underscores, the first a letter or digit."
        ) from error


def load_config(path: Path, config_class: type[ConfigT]) -> ConfigT:
    """Read a YAML file into `config_class`; an empty file means every default.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not fit the class. An unknown key
            is named together with the nearest known one.
    """
    return parse_config(load_yaml(path), config_class, source=str(path))


def load_yaml(path: Path) -> Any:
    """Return the value of a YAML file, an empty mapping for an empty one (ConfigError)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Config file {path} cannot be read: {error}") from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Config file {path} is not valid YAML: {error}") from error
    return {} if value is None else value


def parse_config(value: Any, config_class: type[ConfigT], *, source: str) -> ConfigT:
    """Return `value` as a `config_class`; `source` names the origin in errors (ConfigError)."""
    try:
        return config_class.model_validate(value)
    except ValidationError as error:
        lines = [_explain(entry, config_class) for entry in error.errors()]
        raise ConfigError(
            "\n  ".join([f"{source} is not a valid {config_class.__name__}:", *lines])
        ) from error


def _explain(entry: Any, config_class: type[BaseModel]) -> str:
    location = ".".join(str(part) for part in entry["loc"]) or "(the whole file)"
    if entry["type"] != "extra_forbidden":
        return f"{location}: {entry['msg']}, but got {entry['input']!r}"
    *parents, unknown = (str(part) for part in entry["loc"])
    known = [key for model in _models_at(config_class, parents) for key in model.model_fields]
    nearest = difflib.get_close_matches(unknown, known, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"{location}: unknown key{hint}"


def _models_at(config_class: type[BaseModel], location: list[str]) -> list[type[BaseModel]]:
    """Return the models that an error's location may lead to; it names fields and union tags."""
    models = [config_class]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        elif not part.isdigit():  # no place in a list: the tag of a union, such as "gru"
            models = [
                model
                for model in models
                if "kind" in model.model_fields and model.model_fields["kind"].default == part
            ]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
