"""Off-policy estimates of several weights side by side, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from raysys.evaluation.comparison import Estimate
from raysys.evaluation.off_policy import (
    OffPolicyEstimate,
    Overlap,
    estimated,
    overlap_of,
    places_that_suffice,
)
from raysys.evaluation.off_policy_totals import WeightTotals
from raysys.policy.policies import EPSILON_GREEDY

_NAMES = {"ips": "IPS", "snips": "self-normalised IPS", "dr": "doubly robust"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the log says of one other weight, or why it says nothing.

    Args:
        estimate: None where it is refused.
        refusal: a sentence that says why, and what would help.
    """

    totals: WeightTotals
    overlap: Overlap
    estimate: OffPolicyEstimate | None
    refusal: str | None

    def to_json(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        found: dict[str, Any] = {
            "exploration_weight": self.totals.weight,
            "exploration_policy": EPSILON_GREEDY if self.totals.draws_alike else None,
            **asdict(self.overlap),
            "answers_unsupported": self.totals.unsupported,
            "answers_unknown": self.totals.unknown,
            "refusal": self.refusal,
        }
        if self.estimate is not None:
            found["clicks_per_answer"] = {
                "logged": asdict(self.estimate.logged),
                **{name: asdict(value) for name, value in self.estimate.values.items()},
            }
            found["gain"] = {name: asdict(value) for name, value in self.estimate.gains.items()}
        return found


def judged(totals: WeightTotals, num_places: int | None = None) -> Judgement:
    """Say what another weight would have earned, or why that cannot be said."""
    overlap = overlap_of(totals, num_places)
    lack = overlap.lack
    if lack is None:
        return Judgement(totals, overlap, estimated(totals, num_places), None)
    return Judgement(totals, overlap, None, _refusal(totals, overlap, lack))


def to_table(judgements: Sequence[Judgement]) -> Table:
    """Return the estimates, a line for each weight and estimator; refusals are not in it."""
    is_alike = any(judgement.totals.draws_alike for judgement in judgements)
    title = f"clicks per answer, {EPSILON_GREEDY}" if is_alike else "clicks per answer"
    table = Table(title=title, caption="in brackets: 95 % intervals, by user")
    for name in ("weight", "estimate", "clicks", "", "more than logged", "", "eff. answers"):
        table.add_column(name, justify="left" if name == "estimate" else "right", no_wrap=True)
    for judgement in judgements:
        if judgement.estimate is None:
            continue
        found, weight = judgement.estimate, f"{judgement.totals.weight:g}"
        table.add_row(
            weight, "as logged", *_cells(found.logged, ""), "", "", f"{judgement.overlap.answers:,}"
        )
        for name, value in found.values.items():
            effective = f"{judgement.overlap.effective_answers:,.0f}"
            gain = _cells(found.gains[name], "+")
            table.add_row(weight, _NAMES[name], *_cells(value, ""), *gain, effective)
    return table


def _cells(value: Estimate, sign: str) -> tuple[str, str]:
    return f"{value.mean:{sign}.4f}", f"[{value.low:{sign}.4f}, {value.high:{sign}.4f}]"


def _refusal(totals: WeightTotals, overlap: Overlap, lack: str) -> str:
    if not overlap.answers:
        return (
            f"Nothing is said of {_named(totals)}: of the log's answers, "
            f"{totals.unsupported:,} could not have been any that it gives (they did not explore, "
            f"or did nothing else), and of {totals.unknown:,} it is not known how they came to be. "
            f"Let a share of requests explore with a weight between 0 and 1."
        )
    depth = places_that_suffice(totals, overlap.num_places)
    advice = (
        f"Down to place {depth} it can be judged: --places {depth}."
        if depth
        else "Gather more answers, or ask for a weight closer to the logged one."
    )
    return (
        f"Nothing is said of {_named(totals)} down to place {overlap.num_places}: there "
        f"are {lack}. {advice}"
    )


def _named(totals: WeightTotals) -> str:
    policy = f" of {EPSILON_GREEDY}" if totals.draws_alike else ""
    return f"weight {totals.weight:g}{policy}"
