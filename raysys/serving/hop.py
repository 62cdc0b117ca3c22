"""How the gateway calls a part that may be away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from raysys.errors import ReleaseMismatchError
from raysys.serving.deadline import DEADLINE

_LOG = logging.getLogger("raysys.serving")
_PROBE_EVERY_S = 0.25

ResultT = TypeVar("ResultT")


class PartAwayError(Exception):
    """A part does not answer now. The gateway goes on without it: this never reaches a client."""


class Hop:
    """The way to one part. When the part fails, it is left alone until a probe finds it back.

    So one batch waits `timeout_s` for a dead part, and those after it do not wait at all.

    Args:
        name: the part, for people.
        probe: a cheap call to the part; it is back when this returns.
    """

    def __init__(
        self, name: str, probe: Callable[[], Awaitable[object]], *, timeout_s: float
    ) -> None:
        self.name = name
        self._probe = probe
        self._timeout_s = timeout_s
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        return self._probing is not None

    async def call(self, ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Return what the part answers.

        A part that refuses the release is asked once more: while a new release is rolled out,
        another replica may still have it.

        Raises:
            PartAwayError: the part failed, did not answer in time, or is known to be away; or there
                was less time left than it is given, and that is no reason to leave it alone.
        """
        if self.is_away:
            raise PartAwayError(f"{self.name} is away")
        given_up_at_s = asyncio.get_running_loop().time() + self._timeout_s
        is_short = DEADLINE.get() < given_up_at_s
        try:
            async with asyncio.timeout_at(min(given_up_at_s, DEADLINE.get())):
                try:
                    return await ask()
                except ReleaseMismatchError:
                    return await ask()
        except Exception as error:
            if is_short and isinstance(error, TimeoutError):
                raise PartAwayError(f"There was no time left for {self.name}") from error
            if not self.is_away:
                _LOG.warning("%s is away: %r", self.name, error)
                self._probing = asyncio.create_task(self._wait_until_back())
            raise PartAwayError(f"{self.name} is away: {error!r}") from error

    async def check(self) -> None:
        """Ask the part whether it is there, even when it is known to be away; PartAwayError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._probe()
        except TimeoutError as error:
            raise PartAwayError(
                f"{self.name} does not answer within {self._timeout_s:g} s"
            ) from error
        except Exception as error:
            raise PartAwayError(f"{self.name} does not answer: {error}") from error

    async def close(self) -> None:
        """Stop waiting for the part."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _wait_until_back(self) -> None:
        try:
            while True:
                await asyncio.sleep(_PROBE_EVERY_S)
                try:
                    await self.check()
                except PartAwayError:
                    continue
                _LOG.warning("%s is back", self.name)
                return
        finally:
            self._probing = None


async def answer_or_none(hop: Hop, ask: Callable[[], Awaitable[ResultT]]) -> ResultT | None:
    """Return what a part answers, None when it is away."""
    try:
        return await hop.call(ask)
    except PartAwayError:
        return None
