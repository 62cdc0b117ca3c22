"""How many requests a second a gateway lets through."""

from raysys.errors import TooManyRequestsError

_HELD_S = 1.0
"""What was not asked for in the last second may be asked for at once."""


class Pace:
    """A bucket that fills at the permitted rate; every request takes one from it.

    Args:
        per_s: requests a second; None: as many as come.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._most = max(1.0, (per_s or 0.0) * _HELD_S)
        self._left = self._most
        self._filled_at_s: float | None = None

    def take(self, now_s: float) -> None:
        """Return if one more request may come through.

        Args:
            now_s: by a clock that never goes back.

        Raises:
            TooManyRequestsError: too many came through already.
        """
        if self._per_s is None:
            return
        if self._filled_at_s is not None:
            filled = self._left + (now_s - self._filled_at_s) * self._per_s
            self._left = min(self._most, filled)
        self._filled_at_s = now_s
        if self._left < 1:
            raise TooManyRequestsError(
                f"More than {self._per_s:.6g} requests a second come to this gateway, which is all "
                f"that it lets through. Try again later, or raise max_requests_per_s."
            )
        self._left -= 1
