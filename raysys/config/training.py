"""How a model is learnt."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raysys.config.base import Config, Share

_NumWorkers = Annotated[int, Field(ge=1)]


class TrainingConfig(Config):
    """How the model is learnt."""

    optimizer: Literal["adamw", "adagrad"] = "adamw"
    learning_rate: float = Field(4e-3, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """The way of the learning rate from its height to 0 at the end of max_epochs, or no way."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from 0, in a straight line."""
    reduction: Literal["mean", "sum"] = "mean"
    """Of a step's gradient over its examples. Adagrad's first steps depend on it."""
    weight_decay: float = Field(0.01, ge=0)
    """Of matrices and embeddings; biases and the scales of norms are left alone."""
    batch_size: int = Field(32, ge=1)
    """Users read side by side (sequential models) or interactions (two-tower), over all workers."""
    accumulate_steps: int = Field(1, ge=1)
    """Batches whose gradients make one step, for batches that are larger than memory. Negatives
    that come from the batch come from each of them alone."""
    max_epochs: int = Field(10, ge=1)
    patience: int = Field(4, ge=1)
    """Epochs without a better validation metric after which training stops."""
    refit: bool = False
    """Learn once more from nothing, for as many epochs as validation found best, from what it was
    measured on too. What is figured is of the test part, which is never learnt."""
    gradient_clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient; null leaves it as it is."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """What an exponential moving average of the weights keeps of itself in a step, such as 0.999.
    It is the average that is validated and saved; null: the weights as they are."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of products while learning; weights and sums stay float32. auto: bfloat16 on GPUs only."""
    loss: Literal[
        "auto", "full_softmax", "sampled_softmax", "in_batch_softmax", "bce", "gbce", "bpr"
    ] = "auto"
    """What is learnt of the item that a query led to: its probability among all items, among items
    drawn for the step or among those of the batch, or its logit against those of drawn items (bce,
    gbce, bpr). auto: full_softmax up to full_softmax_up_to, then sampled_softmax for models that
    read histories and in_batch_softmax for two_tower."""
    full_softmax_up_to: int = Field(50_000, ge=1)
    """Items of a catalogue that is scored whole when the loss is auto."""
    num_negatives: int = Field(1024, ge=1)
    """Items drawn for a step, the same for all its queries and workers."""
    popular_share: Share = 0.5
    """Of the num_negatives of sampled_softmax, drawn by how often an item is the answer in the log;
    the others, and those of bce, gbce and bpr, are drawn alike from the whole catalogue."""
    num_hard_negatives: int | None = Field(None, ge=1)
    """Only so many negatives with the highest logits count for a query; null: all."""
    gbce_calibration: Share = 0.75
    """t of gbce: 0 is bce, 1 gives calibrated probabilities."""
    row_updates_from: int = Field(100_000, ge=1)
    """Embedding tables of at least so many rows are changed only in the rows that a step reaches,
    which neither fade nor decay meanwhile, so that a step costs the same however large they are.
    The table of the items is not, where every step scores all of them."""
    num_workers: _NumWorkers | tuple[_NumWorkers, _NumWorkers] = 1
    """How many learn together; or the fewest and the most, where training is to go on with those
    that are left when a node dies, and to take in more when one comes."""
    wait_for_nodes: bool = False
    """Let workers for whom no node has room wait for one that an autoscaler brings."""
    cpus_per_worker: float = Field(1.0, gt=0)
    threads_per_worker: int = Field(1, ge=1)
    """Of torch. Several are faster only where no other program wants their cores."""
    use_gpu: bool = False
    seed: int = Field(42, ge=0)
    allow_little_data: bool = False
    """Learn also from fewer than 1,000 interactions, or fewer than 25 users with two."""

    @property
    def min_workers(self) -> int:
        """The fewest workers that learn together."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The most workers that learn together."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @model_validator(mode="after")
    def _has_an_order_of_workers(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"num_workers is the fewest and the most workers, but {self.min_workers} is more "
                f"than {self.max_workers}"
            )
        return self

    @model_validator(mode="after")
    def _hard_negatives_are_chosen_from_some(self) -> Self:
        if self.num_hard_negatives is not None and self.loss not in _WITH_HARD_NEGATIVES:
            reason = {
                "auto": "auto may be full_softmax, which has no negatives to choose from",
                "gbce": "the calibration of gbce counts on negatives that are drawn alike",
            }.get(self.loss, f"{self.loss} has no negatives to choose from")
            raise ValueError(
                f"num_hard_negatives {self.num_hard_negatives} needs one of the losses "
                f"{', '.join(_WITH_HARD_NEGATIVES)}: {reason}. Name one, or leave "
                f"num_hard_negatives null"
            )
        return self


_WITH_HARD_NEGATIVES = ("sampled_softmax", "in_batch_softmax", "bce", "bpr")
