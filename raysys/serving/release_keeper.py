"""Which releases one replica holds: those that its campaigns need, loaded beside each other."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from raysys.errors import RaysysError, ReleaseMismatchError, StateError
from raysys.release import Release, open_release
from raysys.serving.follower import PATIENCE_S, Follower
from raysys.state.campaigns import (
    CampaignTable,
    CampaignVersion,
    Endpoint,
    Replica,
    Report,
    Variant,
    is_changing,
)

_LOG = logging.getLogger("raysys.serving")
_TRY_AGAIN_AFTER_S = 30.0

HeldT = TypeVar("HeldT")


class ReleaseKeeper(Generic[HeldT]):
    """Loads what campaigns are to answer from beside what they answer from, and says so.

    It asks the database every half second. While that is away, what is held stays held. Loading is
    done by one thread, so that nobody who asks for a release that is there waits for it.

    Args:
        replica: a name of its own.
        endpoint: where gateways call it, if they do.
        open_table: called until it succeeds; returns the campaigns of the application.
        load: from a release that was opened to what is held of it. What it raises is told to the
            operator as the reason why the release is not served.
        warm_up: asked, of what was loaded and is not served yet, until it says that it may be; it
            may raise, too. What is served already is not kept waiting for.
        drop: lets go of what `load` returned.
        on_versions: told the versions of all campaigns whenever they were asked for, by a thread;
            returns the version of each campaign that is in service here.
    """

    def __init__(
        self,
        replica: str,
        open_table: Callable[[], CampaignTable],
        load: Callable[[Release], HeldT],
        *,
        endpoint: Endpoint | None = None,
        warm_up: Callable[[HeldT], bool] = lambda _: True,
        drop: Callable[[HeldT], None] = lambda _: None,
        on_versions: Callable[[list[CampaignVersion]], Mapping[str, int]] = lambda _: {},
    ) -> None:
        self._replica = replica
        self._endpoint = endpoint
        self._open_table = open_table
        self._load = load
        self._warm_up = warm_up
        self._drop = drop
        self._on_versions = on_versions
        self._held: dict[str, HeldT] = {}
        self._cold: dict[str, HeldT] = {}
        """Loaded, and not to be used yet."""
        self._failed: dict[str, tuple[str, float]] = {}
        """Why, and when it may be tried again."""
        self._loading: dict[str, Future[HeldT]] = {}
        self._table: CampaignTable | None = None
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="raysys-load")
        self._follower = Follower("raysys-releases", "The releases", self._take_over)

    def start(self, patience_s: float = PATIENCE_S) -> None:
        """Return when what is served now is loaded, or cannot be, and go on following.

        While the database does not answer for `patience_s`, a replica starts without anything and
        catches up later.

        Raises:
            StateError: the database can never be used.
        """
        is_caught_up = self._follower.catch_up_within(patience_s)
        while is_caught_up and self._loading:
            self._follower.wait()
            is_caught_up = self._follower.catch_up()
        self._follower.start()

    def get(self, release: str) -> HeldT:
        """Return what is held of a release, by its name; ReleaseMismatchError where it is not."""
        held = self._held.get(release)
        if held is None:
            names = ", ".join(sorted(self._held)) or "none"
            why = (
                f" It cannot load it: {self._failed[release][0]}" if release in self._failed else ""
            )
            raise ReleaseMismatchError(
                f"This replica was asked for release {release} and holds {names}. No answer may "
                f"mix two releases; while one is rolled out, ask again.{why}"
            )
        return held

    def find(self, release: str) -> HeldT | None:
        """Return what is held of a release, None where it is not."""
        return self._held.get(release)

    def why_not(self, release: str) -> str:
        """Return why a release is not held."""
        if release in self._failed:
            return self._failed[release][0]
        is_under_way = release in self._loading or release in self._cold
        return "it is being loaded" if is_under_way else "nobody has asked for it yet"

    def close(self) -> None:
        """Let go of everything."""
        self._follower.close()
        self._loader.shutdown(cancel_futures=True)
        for those in (self._held, self._cold):
            while those:
                self._drop(those.popitem()[1])
        if self._table is not None:
            with contextlib.suppress(StateError):  # the director forgets it, too
                self._table.forget([self._replica])

    def _take_over(self) -> bool:
        """Load, let go and report; says whether others wait for this replica, or it for them."""
        if self._table is None:
            self._table = self._open_table()
        versions = self._table.open()
        wanted = _to_be_held(versions)
        self._collect(
            {
                release
                for version in versions
                if version.status in ("serving", "kept")
                for release in version.plan.releases
            }
        )
        self._let_go_of_all_but(wanted)
        self._begin(wanted)
        in_service = self._on_versions(versions)
        report = Report(
            endpoint=self._endpoint,
            ready=tuple(sorted(self._held)),
            failed={release: why for release, (why, _) in sorted(self._failed.items())},
            in_service=in_service,
        )
        # It looks each time: all depends on what is known of this replica, which may be forgotten.
        if report != self._table.said_by(self._replica):
            self._table.report(Replica(self._replica, report))
        return not versions or is_changing(versions) or bool(self._loading)

    def _collect(self, served: Set[str]) -> None:
        """Take what has been loaded.

        Args:
            served: releases that are held as soon as they are loaded.
        """
        for release, future in [*self._loading.items()]:
            if future.done():
                del self._loading[release]
                try:
                    self._cold[release] = future.result()
                except Exception as error:
                    self._fail(release, error)
        for release, held in [*self._cold.items()]:
            try:
                is_warm = release in served or self._warm_up(held)
            except Exception as error:
                self._drop(self._cold.pop(release))
                self._fail(release, error)
                continue
            if is_warm:
                self._held[release] = self._cold.pop(release)
                self._failed.pop(release, None)
                _LOG.info("Release %s is loaded", release)

    def _fail(self, release: str, error: Exception) -> None:
        is_expected = isinstance(error, RaysysError)
        why = str(error) if is_expected else repr(error)
        if release not in self._failed or self._failed[release][0] != why:
            told = None if is_expected else error
            _LOG.error("Release %s cannot be loaded: %s", release, why, exc_info=told)
        self._failed[release] = (why, time.monotonic() + _TRY_AGAIN_AFTER_S)

    def _let_go_of_all_but(self, wanted: Mapping[str, Variant]) -> None:
        for those in (self._held, self._cold):
            for release in [name for name in those if name not in wanted]:
                self._drop(those.pop(release))
                _LOG.info("Release %s is let go", release)
        for release in [name for name in self._failed if name not in wanted]:
            del self._failed[release]

    def _begin(self, wanted: Mapping[str, Variant]) -> None:
        """Have loaded what is missing."""
        for release, variant in wanted.items():
            if release in self._held or release in self._cold or release in self._loading:
                continue
            if release in self._failed and time.monotonic() < self._failed[release][1]:
                continue
            self._loading[release] = self._loader.submit(self._loaded, variant)

    def _loaded(self, variant: Variant) -> HeldT:
        release = open_release(Path(variant.path))
        if release.name != variant.release:
            raise ReleaseMismatchError(
                f"{variant.path} holds release {release.name} and not {variant.release}."
            )
        return self._load(release)


def _to_be_held(versions: list[CampaignVersion]) -> dict[str, Variant]:
    """Return the releases to be held, by name, the newest first: they are waited for.

    What a campaign answered from before makes room while another version is prepared.
    """
    preparing = {version.campaign for version in versions if version.status == "preparing"}
    return {
        variant.release: variant
        for version in reversed(versions)
        if version.status in ("preparing", "serving")
        or (version.status == "kept" and version.campaign not in preparing)
        for variant in version.plan.variants
    }
