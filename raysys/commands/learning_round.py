"""One round of learning: take over what is new, update what is served, serve the result.

Whatever fails, the release that is served goes on, and the round's row says why.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from raysys.commands.console import Console
from raysys.commands.going_on import open_update
from raysys.commands.holding import HeldLease
from raysys.commands.import_log import import_events_and_report
from raysys.commands.update import update_and_report
from raysys.config import LearningConfig
from raysys.errors import DatasetError, RaysysError
from raysys.release import Release, open_release
from raysys.serving.learning_schedule import is_something_new, served_release
from raysys.state.learning import LearningTable
from raysys.state.learning_rounds import Outcome, Round
from raysys.state.store import StateStore

_FAILED_ONES_WAIT = 1 / 7
"""Of the time between trainings from nothing: so long after one that failed is the next tried."""

Serve = Callable[[Release, Path], None]
"""Lets the campaign that answers from the first answer from the second, and waits for that."""


class LearningRound:
    """One round, which belongs to the holder of a lease.

    Args:
        store, application: whose events are learnt from.
        serve: see `Serve`; raises ServingError.
    """

    def __init__(
        self,
        store: StateStore,
        application: str,
        learning: LearningConfig,
        held: HeldLease,
        serve: Serve,
        console: Console,
    ) -> None:
        self._store = store
        self._application = application
        self._table: LearningTable = store.learning(application)
        self._learning = learning
        self._held = held
        self._serve = serve
        self._console = console

    def run(self) -> dict[str, Any]:
        """Do it and store what became of it; return that for the JSON line.

        Raises:
            LeaseLostError: another process took over.
            RaysysError: a step failed; the release that was served still is.
        """
        self._table.begin(self._held.lease)
        with self._failures_told():
            self._step("looking for news")
            if not is_something_new(self._store, self._application, self._learning):
                return self._end("nothing", "Nothing is new.")
            return self._learn()

    def _learn(self) -> dict[str, Any]:
        learning = self._learning
        dataset, releases = Path(learning.dataset).absolute(), Path(learning.releases).absolute()
        self._step("importing")
        imported = import_events_and_report(self._store, dataset, self._console)
        found: dict[str, Any] = {"imported": imported}
        served = served_release(self._store.campaigns(self._application), learning.campaign)
        release = open_release(Path(served.path))
        update = open_update(release, dataset)
        import_id = update.material.dataset.manifest.import_id
        self._step("training", release=release.name, import_id=import_id)
        if not update.num_active_users:
            why = f"Nothing that came is newer than what release {release.name} has learnt from."
            return found | self._end("nothing", why)
        tried = self._table.newest_full()
        mode = "FULL" if is_full_due(learning, release, tried, datetime.now(UTC)) else "UPDATE"
        self._step("training", mode=mode)
        updated = update_and_report(
            update,
            releases,
            self._console,
            epochs=learning.epochs,
            gate=learning.gate,
            is_anew=mode == "FULL",
        )
        found |= {"mode": mode, "update": updated}
        if not updated["updated"]:
            return found | self._end("kept", str(updated["gate"]["reason"]))
        self._step("deploying", published=updated["name"])
        self._serve(release, Path(updated["release"]))
        why = f"{updated['active_users']:,} users did something new."
        return found | self._end("deployed", why)

    def _step(self, step: str, **told: str) -> None:
        """Go on to the next step, if the lease is still held."""
        self._held.check()
        self._table.tell(self._held.lease, step=step, **told)

    def _end(self, status: Outcome, reason: str) -> dict[str, Any]:
        self._table.end(self._held.lease, status, reason)
        self._console.say(f"  {status}: {reason}")
        return {"status": status, "reason": reason}

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # of a file that no room expected to fail
            self._end("failed", str(error))
            raise DatasetError(f"The round of learning failed: {error}") from error
        except BaseException as error:
            is_known = isinstance(error, RaysysError)
            self._end("failed", str(error) if is_known else f"It was ended by {error!r}.")
            raise


def is_full_due(
    learning: LearningConfig, release: Release, tried: Round | None, now: datetime
) -> bool:
    """Say whether the model is to be trained from nothing.

    Args:
        tried: the newest round that did so. One that was not good enough counts as a training: the
            next would be no better at once. One that failed is tried again sooner.
    """
    if learning.full_every_days is None:
        return False
    every = timedelta(days=learning.full_every_days)
    if tried is not None:
        wait = every * _FAILED_ONES_WAIT if tried.status in ("failed", "lost") else every
        if now - datetime.fromtimestamp(tried.began_at_us / 1e6, UTC) < wait:
            return False
    return now - release.trained_at >= every
