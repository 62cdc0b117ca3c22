"""How good a model is: against baselines on the test part, and on validation while it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raysys.commands.console import Advance
from raysys.commands.released_model import embedding_retriever
from raysys.config import EvaluationConfig, ItemToItemConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.splits import Held, SplitBlocks
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.baselines.ease import Ease
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.item_neighbors import (
    MAX_USER_ITEMS,
    ItemNeighbors,
    SimilarItems,
)
from raysys.evaluation.baselines.transitions import Transitions
from raysys.evaluation.evaluate import Evaluation, evaluate
from raysys.evaluation.report import Report
from raysys.evaluation.topk import Retriever
from raysys.models.base import EmbeddingModel

_EASE_UP_TO = 5_000  # items; its matrix is inverted in some 10 s there, and in minutes beyond
_EASE_DECAY = 0.9  # what the bar is: an EASE that forgets the order is easily beaten
_TRANSITIONS_DECAY = 0.7
_NEIGHBORS_UP_TO = 200_000  # items
_PAIRS_UP_TO = 2_000_000_000  # of items of one user, a tenth of what the baseline takes at most
_SPLIT_WORDS = {
    "leave_last_out": "leave-last-out",
    "random": "random split",
    "time": "global time split",
    "users": "users held out",
    "sequential": "sequential examples",
}


def measure(
    retriever_for: Callable[[FixedRanking], Retriever],
    model_kind: str,
    histories: Histories,
    num_items: int,
    config: PipelineConfig,
    advance: Advance,
) -> Report:
    """Rank the test part with the model and with baselines fitted on the same train part.

    The bar is EASE with recency-weighted histories, and beyond 5,000 items what followed the recent
    items; popularity says what is reached without any model. A model that answers with items like
    the newest one has neighbors by co-interaction beside it, which know as much of the user.

    Args:
        retriever_for: gives the model, which answers by this ranking, the popular items of the
            train part, those of whom it knows nothing.
        histories: of all users; they are read in blocks.
    """
    parts = parts_of(histories, config)
    popularity = FixedRanking(popularity_counts(parts.train(), num_items))
    retrievers: dict[str, Retriever] = {
        model_kind: retriever_for(popularity),
        "popularity": popularity,
        "last item": Transitions(parts.train(), num_items),
    }
    if num_items <= _EASE_UP_TO:
        retrievers["recency EASE"] = Ease(parts.train(), num_items, decay=_EASE_DECAY)
    else:
        retrievers["recent items"] = Transitions(
            parts.train(), num_items, prior=1.0, decay=_TRANSITIONS_DECAY
        )
    if isinstance(config.model, ItemToItemConfig) and _may_have_neighbors(histories, num_items):
        neighbors = ItemNeighbors.fit(parts.train(), num_items)
        retrievers["item neighbors"] = SimilarItems(neighbors)
    measured: dict[str, list[Evaluation]] = {name: [] for name in retrievers}
    num_steps = len(parts.blocks) * len(retrievers)
    for block, part in enumerate(parts):
        for number, (name, each) in enumerate(retrievers.items()):
            advance(block * len(retrievers) + number, num_steps, name)
            if len(part.test):
                measured[name].append(evaluate(each, part.test, config.evaluation.ks))
    advance(num_steps, num_steps)
    evaluations = {name: Evaluation.joined(each) for name, each in measured.items()}
    return Report(evaluations, config.evaluation, _SPLIT_WORDS[config.split.kind])


def parts_of(histories: Histories, config: PipelineConfig) -> SplitBlocks:
    """Return what is tested, and for train all that the model has learnt from in the end."""
    return SplitBlocks.of(histories, config.split, has_validation=not config.training.refit)


def _may_have_neighbors(histories: Histories, num_items: int) -> bool:
    """Return whether finding the neighbors of all items takes less than about a minute."""
    lengths = np.minimum(histories.lengths, MAX_USER_ITEMS)
    return num_items <= _NEIGHBORS_UP_TO and int((lengths**2).sum()) <= _PAIRS_UP_TO


@dataclass(frozen=True)
class MakeValidate:
    """Makes, in a training worker, the function that measures the model on held-out users."""

    evaluation: EvaluationConfig
    users: Path
    """The user vocabulary."""

    def __call__(self, held: Held) -> Callable[[EmbeddingModel], dict[str, float]]:
        users = Vocabulary.open(self.users)

        def validate(model: EmbeddingModel) -> dict[str, float]:
            retriever = embedding_retriever(model, users)
            return evaluate(retriever, held, [self.evaluation.metric_k]).means()

        return validate
