"""A round of learning as a job of the cluster: its log and its end stand on the dashboard."""

import os
import shlex
import sys
from typing import TYPE_CHECKING

from ray.experimental.internal_kv import _internal_kv_get

from raysys.config import LearningConfig
from raysys.errors import ServingError
from raysys.precedence import nice_python
from raysys.serving.nicer_starts import NicerStarts

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_NUM_CHARACTERS_OF_LOG = 400
_DASHBOARD = b"dashboard"  # where Ray's own processes find the address of the dashboard


class LearningJob:
    """Submits `raysys learn now` from the directory of this process: paths mean the same there."""

    def __init__(self) -> None:
        self._client: JobSubmissionClient | None = None
        self._job = ""
        self._nicer_starts: NicerStarts | None = None

    def start(self, learning: LearningConfig) -> str:
        """Submit it and return its id; ServingError where the dashboard takes no jobs."""
        from ray.job_submission import JobSubmissionClient  # only who learns needs all of that

        # Ray's own process for the job is as nice as the workers of the round, and what it starts
        # is, too. It starts a session, which has a niceness of its own.
        niceness = learning.niceness
        self._stop_looking()
        nicer = {"py_executable": nice_python(niceness)} if niceness else None
        self._nicer_starts = NicerStarts(niceness)
        self._nicer_starts.start()
        try:
            self._client = JobSubmissionClient(_dashboard_url())
            self._job = self._client.submit_job(
                entrypoint=entrypoint_of(niceness),
                runtime_env=nicer,
                entrypoint_label_selector=learning.nodes or None,
            )
        except (OSError, RuntimeError, ValueError) as error:
            self._stop_looking()
            raise ServingError(
                f"The round could not be submitted to the dashboard of the Ray cluster: {error}"
            ) from error
        return self._job

    def ended(self) -> str | None:
        """Return what the job page says of its end; None while it runs, or nobody can say."""
        if self._client is None:
            return "There is none."
        try:
            found = self._client.get_job_info(self._job)
        except (OSError, RuntimeError, ValueError):
            return None
        if not found.status.is_terminal():
            return None
        self._stop_looking()
        told = shortened(found.message or "")
        return f"job {self._job} of the dashboard is {found.status.value}. {told}"

    def _stop_looking(self) -> None:
        if self._nicer_starts is not None:
            self._nicer_starts.stop()


def entrypoint_of(niceness: int) -> str:
    """Return the shell command of a round, from the directory of this process."""
    here, python = shlex.quote(os.getcwd()), shlex.quote(sys.executable)
    # A node that is for learning alone may lack the directory; all paths are absolute there.
    session = f"{{ echo {niceness} > /proc/self/autogroup; }} 2>/dev/null"
    # What the round computes by itself, as the gate's judgement, would else take every core.
    threads = f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{max(1, (os.cpu_count() or 1) // 2)}}}"
    learn = f"{python} -m raysys learn now --niceness {niceness} --json"
    return f"{session}; {threads}; cd {here} 2>/dev/null; exec {learn}"


def shortened(message: str) -> str:
    """Return what a job page says without the middle of the log that it holds: a round's row is
    read at a glance, and the page has the rest."""
    first, _, log = message.partition("\n")
    return first if not log else f"{first} … {log[-_NUM_CHARACTERS_OF_LOG:].strip()}"


def _dashboard_url() -> str:
    address = _internal_kv_get(_DASHBOARD, namespace=_DASHBOARD)
    if not address:
        raise ServingError(
            "This Ray cluster runs no dashboard, through which rounds of learning are submitted. "
            "Start it with one, or learn by `raysys learn now` from outside of it."
        )
    found = address.decode()
    return found if "://" in found else f"http://{found}"
