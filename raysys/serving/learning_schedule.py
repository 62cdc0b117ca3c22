"""Begins rounds of learning when it is time, if there is something new. Knows no Ray.

What was done when is read from the database, so a process that was started anew goes on where the
one before ended, and of several that follow one application, on several clusters, one begins.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from raysys.config import LearningConfig
from raysys.errors import DatasetError, RaysysError, ServingError, StateUnavailableError
from raysys.logs.event_news import has_news
from raysys.logs.publish import check_destination
from raysys.release import open_release
from raysys.state.campaigns import CampaignTable, Variant
from raysys.state.learning import Now, runs_in
from raysys.state.store import StateStore

_LOG = logging.getLogger("raysys.serving")

_LOOK_EVERY_S = 10.0


class LearningProcess(Protocol):
    """A round in a process of its own, one at a time."""

    def start(self, learning: LearningConfig) -> str:
        """Begin one as nice, and where, as it says; return its name: the holder of its lease is
        named after it (`raysys.state.learning.owner_of`). RaysysError where that cannot be."""

    def ended(self) -> str | None:
        """Return why the one that was begun last is over; None while it runs."""


class LearningSchedule:
    """Begins rounds, one after the other.

    Args:
        store, application: whose events are learnt from.
        process: what a round runs in.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        store: StateStore,
        application: str,
        process: LearningProcess,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._application = application
        self._table = store.learning(application)
        self._process = process
        self._clock = clock
        self._learning: LearningConfig | None = None
        self._is_held = False
        self._look_at = 0.0
        self._begun = ""
        """The name of the process that was begun last."""
        self._begun_after: int | None = None
        """The newest round before the one that was begun last; None: none is at work."""
        self.is_failing = False
        """Whether the newest round went wrong, as of the last look."""

    def follow(self, learning: LearningConfig | None, *, is_held: bool = False) -> None:
        """Do it like this from now on; None: begin no round. One that runs goes on.

        Args:
            is_held: somebody rolled the campaign back: begin no round, and tell why.
        """
        if (learning, is_held) != (self._learning, self._is_held):
            self._learning, self._is_held, self._look_at = learning, is_held, 0.0
            self.is_failing = False

    def step(self) -> None:
        """Begin a round if it is time; look only now and then."""
        learning = self._learning
        if learning is None or self._clock() < self._look_at:
            return
        every_s = 60 * learning.every_minutes
        self._look_at = self._clock() + min(_LOOK_EVERY_S, every_s / 10)
        now = self._table.now()
        self.is_failing = bool(now.rounds) and (
            now.rounds[0].status in ("failed", "lost")
            or (now.rounds[0].status == "running" and not now.is_held)
        )
        if self._begun_after is not None:
            why = self._process.ended()
            if why is None:
                return
            if _newest(now) == self._begun_after:  # it did not come so far as to say so itself
                self._failed(f"The process that should learn ended before it began: {why}")
            self._give_up(now, why)
            now = self._table.now()
            self._begun_after = None
        if is_due(now, every_s) and self._is_answering(learning):
            self._begin(learning, now)

    def _give_up(self, now: Now, why: str) -> None:
        """Let the next round begin at once where the one that was begun last was killed."""
        for each in now.rounds:
            if each.status == "running" and runs_in(each.owner, self._begun):
                _LOG.error("A round of learning was lost: %s", why)
                self._table.give_up(each.owner, f"The process that learnt ended: {why}")

    def _is_answering(self, learning: LearningConfig) -> bool:
        """Say whether there is something to go on from; a campaign that just starts has time."""
        versions = self._store.campaigns(self._application).open()
        return any(
            each.campaign == learning.campaign and each.status == "serving" for each in versions
        )

    def _begin(self, learning: LearningConfig, now: Now) -> None:
        if self._is_held:
            self._table.add("held", why_held(learning.campaign))
            return
        try:
            if is_something_new(self._store, self._application, learning):
                self._begun = self._process.start(learning)
                self._begun_after = _newest(now)
            else:
                self._table.add("nothing", "Nothing is new.")
        except StateUnavailableError:
            raise  # it may be told another time
        except RaysysError as error:
            self._failed(str(error))

    def _failed(self, reason: str) -> None:
        _LOG.error("A round of learning failed: %s", reason)
        self._table.add("failed", reason)
        self.is_failing = True


def is_due(now: Now, every_s: float) -> bool:
    """Say whether it is time for another round.

    One of which nothing is heard any more is tried again at once, but not twice: whatever ended it
    may do so again.
    """
    if now.is_held:
        return False
    if not now.rounds:
        return True
    newest, before = now.rounds[0], now.rounds[1:2]
    is_lost = newest.status in ("running", "lost")
    if is_lost and not (before and before[0].status == "lost"):
        return True
    return now.now_us - newest.began_at_us >= 1_000_000 * every_s


def why_held(campaign: str) -> str:
    """Return why nothing is learnt for a campaign that was rolled back."""
    return (
        f"Campaign {campaign} was rolled back, so nothing is learnt for it until somebody deploys: "
        f"`raysys deploy --release PATH`, of what it answers from now or of another release."
    )


def is_something_new(store: StateStore, application: str, learning: LearningConfig) -> bool:
    """Say whether a round would find something that the campaign's release has not learnt and that
    no round has judged. Reads two manifests and a few rows.

    Raises:
        DatasetError: there is no dataset of this group.
        ServingError: the campaign does not answer from one release.
        StateError: the database cannot be used.
    """
    dataset = Path(learning.dataset).absolute()
    manifest = check_destination(dataset, store.log.dataset_group)
    if manifest is None:
        raise DatasetError(
            f"There is no dataset at {dataset} to learn from. Name the one that the campaign's "
            f"release was made from, as every node sees it."
        )
    served = served_release(store.campaigns(application), learning.campaign)
    if has_news(store, dataset):
        return True
    watermark = open_release(Path(served.path)).manifest.watermark
    newest = manifest.last_occurred_at
    if newest is None or (watermark is not None and newest <= watermark):
        return False
    return not store.learning(application).has_judged(manifest.import_id, served.release)


def served_release(table: CampaignTable, campaign: str) -> Variant:
    """Return what a campaign answers from; ServingError unless that is one release."""
    serving = [
        version
        for version in table.open()
        if version.campaign == campaign and version.status == "serving"
    ]
    if not serving:
        raise ServingError(
            f"Campaign {campaign} does not answer yet, so there is no release to go on from. "
            f"`raysys campaign list` says why."
        )
    variants = serving[0].plan.variants
    if len(variants) != 1:
        names = ", ".join(variant.release for variant in variants)
        raise ServingError(
            f"Campaign {campaign} answers from several releases ({names}), and which of them is to "
            f"learn nobody said: what is compared stays as it is. Deploy one of them to go on."
        )
    return variants[0]


def _newest(now: Now) -> int:
    return now.rounds[0].round_num if now.rounds else 0
