"""Everything that leads from a dataset to a release."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raysys.config.base import Config, Share
from raysys.config.feedback import FeedbackConfig
from raysys.config.models import GruConfig, ItemToItemConfig, ModelConfig, TwoTowerConfig
from raysys.config.splits import LeaveLastOut, SplitConfig, UserSplit
from raysys.config.training import TrainingConfig


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

    factory: str = "auto"
    """`auto` chooses from the catalogue's size (`raysys.index.choice`); else a string for
    `faiss.index_factory`, for inner product."""
    num_partitions: int = Field(4, ge=1, le=1024)
    """Parts that FAISS searches at once. Data of the release; shards are settings of serving."""
    min_recall: Share = 0.95
    """Mean share of the true 10 and of the true 100 best that an approximate index must find; below
    it nothing is published."""
    memory_gib: float = Field(8.0, gt=0)
    """What all shards of the release together may take, by which `auto` chooses."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What shards will search on, by which `auto` chooses: those with a GPU search exactly."""


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

    @model_validator(mode="after")
    def _the_loss_discounts_popularity(self) -> Self:
        loss = self.training.loss
        if isinstance(self.model, ItemToItemConfig) and loss not in ("auto", "in_batch_softmax"):
            raise ValueError(
                f"an item_to_item model learns by in_batch_softmax, whose negatives carry its "
                f"popularity_discount_factor, but training.loss is {loss}. Leave it auto"
            )
        return self

    @model_validator(mode="after")
    def _the_loss_has_what_the_model_asks_for(self) -> Self:
        if not isinstance(self.model, TwoTowerConfig):
            return self
        loss = self.training.loss
        learns_values_alone = self.feedback.gives_labels and not self.model.retrieval_weight
        if learns_values_alone and loss != "auto":
            raise ValueError(
                f"explicit feedback learns the values of events by their squared error, so "
                f"training.loss {loss} has nothing to do. Leave it auto, give the model a "
                f"retrieval_weight, or use implicit feedback"
            )
        options = {
            "logq_correction": self.model.logq_correction,
            "remove_accidental_hits": self.model.remove_accidental_hits,
        }
        switched_off = [name for name, is_on in options.items() if not is_on]
        if switched_off and loss not in ("auto", "in_batch_softmax"):
            raise ValueError(
                f"{' and '.join(switched_off)} can be switched off for in_batch_softmax only, but "
                f"training.loss is {loss}"
            )
        return self
