"""What the checks of a dataset say: one finding a rule, and the verdict over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How one rule, or all of them together, came out."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found."""

    check: str
    """The rule's name, one or two words; it never changes, so that programs may look for it."""
    verdict: Verdict
    found: str
    """The figures, as a sentence."""
    hint: str = ""
    """What it means and what to do; empty where all is well."""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON value."""
        return {
            "check": self.check,
            "verdict": str(self.verdict),
            "found": self.found,
            "hint": self.hint,
        }


def judged(check: str, found: str, *, fail: str = "", warn: str = "") -> Finding:
    """Return a finding whose verdict is that of the first hint that is given."""
    verdict = Verdict.FAIL if fail else Verdict.WARN if warn else Verdict.PASS
    return Finding(check, verdict, found, fail or warn)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict among them; nothing found is a pass."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.PASS)


def percent(part: float, whole: float) -> str:
    """Return a share in words: a part that is there is never shown as 0 %, nor a gap as 100 %."""
    share = 100 * part / whole if whole else 0.0
    if share in (0, 100):
        return f"{share:.0f} %"
    if share < 0.005:
        return "less than 0.01 %"
    if share >= 99.95:
        return "more than 99.9 %"
    return f"{share:.2f} %" if share < 1 else f"{share:.1f} %"


def quoted(ids: Sequence[str], *, more: bool = False) -> str:
    """Return ids in quotation marks, long ones cut; `more`: they are examples."""
    shown = ", ".join(repr(one if len(one) <= 40 else f"{one[:40]}…") for one in ids)
    return f"{shown} and others" if more else shown
