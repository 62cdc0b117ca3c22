"""The named filters of the database, as a gateway knows them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from raysys.errors import ResourceNotFoundError, UnavailableError
from raysys.filters.expression import Expression
from raysys.filters.grammar import parse_expression

_FRESH_FOR_S = 1.0
_UNKNOWN_FOR_S = 0.2
"""An unknown name may just have been made; it is looked for again so often, whoever asks."""

ReadFilters = Callable[[], Awaitable[Mapping[str, str] | None]]
"""Returns the expression of every filter by name; None when the database is away."""


class NamedFilters:
    """Reads all filters anew when somebody names one and what is known is a second old.

    While the database is away, what was read last goes on. Used by one event loop.
    """

    def __init__(self, read: ReadFilters) -> None:
        self._read = read
        self._texts: Mapping[str, str] | None = None
        self._read_at = -_FRESH_FOR_S
        self._reading: asyncio.Task[None] | None = None
        self._parsed: dict[str, Expression] = {}

    async def expression(self, name: str) -> Expression:
        """Return what the filter of a name says.

        Raises:
            ResourceNotFoundError: there is none.
            UnavailableError: nobody can know, since the database never answered.
        """
        age_s = time.monotonic() - self._read_at
        is_known = self._texts is not None and name in self._texts
        if age_s >= (_FRESH_FOR_S if is_known else _UNKNOWN_FOR_S):
            await self._read_once()
        if self._texts is None:
            raise UnavailableError(
                f"Whether there is a filter {name[:256]!r} is not known, since the database does "
                f"not answer. Try again, or ask without a filter."
            )
        text = self._texts.get(name)
        if text is None:
            raise ResourceNotFoundError(f"There is no filter {name[:256]!r} here.")
        found = self._parsed.get(text)
        if found is None:
            found = self._parsed[text] = parse_expression(text)
        return found

    async def _read_once(self) -> None:
        """Read, or wait for the reading that is under way."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        # One who hangs up must not take the reading from the others.
        await asyncio.shield(self._reading)

    async def _read_all(self) -> None:
        try:
            texts = await self._read()
            self._read_at = time.monotonic()
            if texts is not None:
                self._texts = texts
                parsed = self._parsed
                self._parsed = {text: parsed[text] for text in texts.values() if text in parsed}
        finally:
            self._reading = None
