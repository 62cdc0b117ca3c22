"""What the dashboard's job page shows of a command, beside its log: what it works on and made.

A job that was submitted can add to its metadata while it runs. What a plain driver shows is fixed
when it connects: Ray has no way to change it later.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import _raylet
from ray.dashboard.modules.job.common import JobInfoStorageClient

from raysys.commands.submission import submission_id

_LOG = logging.getLogger("raysys.commands")


def add(metadata: Mapping[str, Any]) -> None:
    """Add to this job's metadata; nothing happens outside of a submitted job.

    A page that cannot be written to is no reason to lose the command's work, so this never raises.
    """
    job = submission_id()
    if job is None or not metadata:
        return
    try:
        asyncio.run(_add(job, as_text(metadata)))
    except Exception as error:  # whatever this version of Ray has changed about its job pages
        _LOG.warning("The job page of %s lacks %s: %s", job, ", ".join(metadata), error)


def as_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata as the job page wants it: all text, without what is not known."""
    return {
        name: f"{value:.4f}" if isinstance(value, float) else str(value)
        for name, value in metadata.items()
        if value is not None
    }


async def _add(job: str, metadata: dict[str, str]) -> None:
    # The same record that the job's supervisor writes before it starts this process and after its
    # end, so nobody writes to it in between.
    raylet: Any = _raylet  # compiled, so without types
    jobs = JobInfoStorageClient(raylet.GcsClient(address=os.environ["RAY_ADDRESS"]))
    found = await jobs.get_info(job)
    if found is None:
        raise LookupError("Ray knows no such job")
    await jobs.put_info(job, replace(found, metadata={**(found.metadata or {}), **metadata}))
