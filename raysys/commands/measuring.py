"""How good a model is: against baselines on the test part, and on validation while it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raysys.commands.console import Advance
from raysys.commands.released_model import embedding_retriever
from raysys.config import EvaluationConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held, split
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.baselines import Ease, Popularity, popularity_counts
from raysys.evaluation.evaluate import evaluate
from raysys.evaluation.report import Report
from raysys.evaluation.topk import Retriever
from raysys.models.base import EmbeddingModel

_EASE_UP_TO = 5_000  # items; its matrix is inverted in some 10 s there, and in minutes beyond
_SPLIT_WORDS = {
    "leave_last_out": "leave-last-out",
    "random": "random split",
    "time": "global time split",
    "users": "users held out",
    "sequential": "sequential examples",
}


def measure(
    retriever: Retriever,
    model_kind: str,
    histories: Histories,
    num_items: int,
    config: PipelineConfig,
    advance: Advance,
) -> Report:
    """Rank the test part with the model and with baselines fitted on the same train part."""
    pieces = split(histories, config.split)
    retrievers: dict[str, Retriever] = {
        model_kind: retriever,
        "popularity": Popularity(popularity_counts(pieces.train, num_items)),
    }
    if num_items <= _EASE_UP_TO:
        retrievers["ease"] = Ease(pieces.train, num_items)
    evaluations = {}
    for done, (name, each) in enumerate(retrievers.items()):
        advance(done, len(retrievers), name)
        evaluations[name] = evaluate(each, pieces.test, config.evaluation.ks)
    advance(len(retrievers), len(retrievers))
    return Report(evaluations, config.evaluation, _SPLIT_WORDS[config.split.kind])


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
