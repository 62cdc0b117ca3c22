"""What a request's headers say about exploration: AWS SDKs refuse members that they do not know."""

import re
from dataclasses import dataclass
from typing import get_args

from raysys.api.asgi import Headers
from raysys.api.violations import refusal
from raysys.config import ExplorationPolicy
from raysys.errors import InvalidInputError

WEIGHT = b"x-raysys-exploration-weight"
POLICY = b"x-raysys-exploration-policy"
SEED = b"x-raysys-seed"
LARGEST_SEED = 2**63 - 1

_DECIMAL = re.compile(rb"(\d{1,20}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")
_DIGITS = re.compile(rb"\d{1,20}")
_POLICIES: dict[bytes, ExplorationPolicy] = {
    name.encode(): name for name in get_args(ExplorationPolicy)
}


@dataclass(slots=True)
class ExplorationWishes:
    """What a request asks for, None where it does not."""

    weight: float | None = None
    policy: ExplorationPolicy | None = None
    seed: int | None = None


def parse_exploration(headers: Headers) -> ExplorationWishes:
    """Return the exploration weight, the policy and the seed that a request asks for.

    Raises:
        InvalidInputError: one of them is outside its bounds, not what it should be, or there twice.
    """
    wishes = ExplorationWishes()
    for name, value in headers:
        if name == WEIGHT:
            number = float(value) if _DECIMAL.fullmatch(value) else -1.0
            if wishes.weight is not None or not 0 <= number <= 1:
                raise _refused(WEIGHT, value, "be given once, as a number from 0 to 1")
            wishes.weight = number
        elif name == POLICY:
            if wishes.policy is not None or value not in _POLICIES:
                names = ", ".join(_POLICIES.values())
                raise _refused(POLICY, value, f"be given once, as one of {names}")
            wishes.policy = _POLICIES[value]
        elif name == SEED:
            digits = int(value) if _DIGITS.fullmatch(value) else -1
            if wishes.seed is not None or not 0 <= digits <= LARGEST_SEED:
                raise _refused(
                    SEED, value, f"be given once, as an integer from 0 to {LARGEST_SEED}"
                )
            wishes.seed = digits
    return wishes


def _refused(name: bytes, value: bytes, constraint: str) -> InvalidInputError:
    shown = value.decode("ascii", "backslashreplace")
    return refusal(shown, f"header {name.decode()}", constraint)
