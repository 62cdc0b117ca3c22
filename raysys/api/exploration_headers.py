"""What a request's headers say about exploration: AWS SDKs refuse members that they do not know."""

import re

from raysys.api.asgi import Headers
from raysys.api.violations import refusal
from raysys.errors import InvalidInputError

WEIGHT = b"x-raysys-exploration-weight"
SEED = b"x-raysys-seed"
LARGEST_SEED = 2**63 - 1

_DECIMAL = re.compile(rb"(\d{1,20}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")
_DIGITS = re.compile(rb"\d{1,20}")


def parse_exploration(headers: Headers) -> tuple[float | None, int | None]:
    """Return the exploration weight and the seed that a request asks for, None where it does not.

    Raises:
        InvalidInputError: one of them is outside its bounds, no number, or there twice.
    """
    weight = seed = None
    for name, value in headers:
        if name == WEIGHT:
            number = float(value) if _DECIMAL.fullmatch(value) else -1.0
            if weight is not None or not 0 <= number <= 1:
                raise _refused(WEIGHT, value, "be given once, as a number from 0 to 1")
            weight = number
        elif name == SEED:
            digits = int(value) if _DIGITS.fullmatch(value) else -1
            if seed is not None or not 0 <= digits <= LARGEST_SEED:
                raise _refused(
                    SEED, value, f"be given once, as an integer from 0 to {LARGEST_SEED}"
                )
            seed = digits
    return weight, seed


def _refused(name: bytes, value: bytes, constraint: str) -> InvalidInputError:
    shown = value.decode("ascii", "backslashreplace")
    return refusal(shown, f"header {name.decode()}", constraint)
