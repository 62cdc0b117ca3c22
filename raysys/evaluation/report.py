"""Several evaluations side by side, for people and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from raysys.config import EvaluationConfig
from raysys.errors import ConfigError
from raysys.evaluation.comparison import Estimate, paired_difference
from raysys.evaluation.evaluate import Evaluation

TIE_RULE = "of equal scores the relevant item comes last"
_LABELS = {"ndcg": "NDCG", "hit_rate": "HR", "recall": "Recall", "mrr": "MRR"}


@dataclass(frozen=True)
class Report:
    """Models and baselines on the same held-out users. The first one is the model in question."""

    evaluations: Mapping[str, Evaluation]
    config: EvaluationConfig
    split: str
    """How the users' interactions were held back, in words."""
    excludes_history: bool = True

    def __post_init__(self) -> None:
        if self.metric not in next(iter(self.evaluations.values())).values:
            raise ConfigError(
                f"Models are to be compared by {self.metric}, which was not measured: ks are "
                f"{list(self.config.ks)}. Add {self.config.metric_k} to ks, or name another metric."
            )

    @property
    def metric(self) -> str:
        """The metric that comparisons read, such as `ndcg_at_10`."""
        return self.config.metric_name

    def differences(self) -> dict[str, Estimate]:
        """Return by how much the first model is ahead of each other one, in `metric`."""
        (_, first), *others = self.evaluations.items()
        mine = first.values[self.metric]
        return {name: paired_difference(mine, e.values[self.metric]) for name, e in others}

    def to_table(self) -> Table:
        """Return a table of models by metrics; the best value of each column is bold.

        It shows every metric at the smallest k, and recall at the others; `to_json` has all.
        """
        first_k, *other_ks = sorted(self.config.ks)
        columns = [*((metric, first_k) for metric in _LABELS), *(("recall", k) for k in other_ks)]
        notes = self._notes()
        table = Table(
            title=f"{self.split}, {self._num_users:,} users",
            caption="\n".join(notes),
            min_width=max(len(note) for note in notes),  # so that no note is wrapped
        )
        table.add_column("model", no_wrap=True)
        for metric, k in columns:
            table.add_column(f"{_LABELS[metric]}@{k}", justify="right", no_wrap=True)
        means = {name: evaluation.means() for name, evaluation in self.evaluations.items()}
        names = [f"{metric}_at_{k}" for metric, k in columns]
        best = {name: max(model[name] for model in means.values()) for name in names}
        for model, values in means.items():
            cells = (_cell(values[name], is_best=values[name] == best[name]) for name in names)
            table.add_row(model, *cells)
        return table

    def to_json(self) -> dict[str, Any]:
        """Return everything but the values of single users, fit for JSON."""
        return {
            "split": self.split,
            "num_users": self._num_users,
            "ties": TIE_RULE,
            "excludes_history": self.excludes_history,
            "metric": self.metric,
            "models": {
                name: {
                    "means": evaluation.means(),
                    "standard_errors": evaluation.standard_errors(),
                    "interval_95": [estimate.low, estimate.high],
                }
                for name, evaluation in self.evaluations.items()
                for estimate in [evaluation.estimate(self.metric)]
            },
            "ahead_of": {
                name: {
                    "difference": difference.mean,
                    "standard_error": difference.standard_error,
                    "low_95": difference.low,
                    "high_95": difference.high,
                }
                for name, difference in self.differences().items()
            },
        }

    @property
    def _num_users(self) -> int:
        return len(next(iter(self.evaluations.values())))

    def _notes(self) -> list[str]:
        label = f"{_LABELS[self.config.metric]}@{self.config.metric_k}"
        first, *_ = self.evaluations
        own = self.evaluations[first].estimate(self.metric)
        lines = [f"{first}, {label}: {own.mean:.4f}, 95 % interval {own.low:.4f} to {own.high:.4f}"]
        lines += [
            f"{first} - {name}, {label}: {d.mean:+.4f}, 95 % interval {d.low:+.4f} to {d.high:+.4f}"
            for name, d in self.differences().items()
        ]
        seen = "seen items left out" if self.excludes_history else "seen items ranked too"
        return [*lines, f"{seen}; ties: {TIE_RULE}"]


def _cell(value: float, *, is_best: bool) -> Text:
    return Text(f"{value:.4f}", style="bold" if is_best else "")
