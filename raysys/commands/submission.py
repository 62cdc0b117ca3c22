"""Running as a submitted Ray job: how to know, and which paths make no sense there.

`ray job submit --working-dir .` runs the command in a temporary copy of the directory, on a node of
the cluster. What is read from the copy is there; what is written into it is lost.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysys import storage
from raysys.errors import ConfigError

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the processes of a submitted job


def submission_id() -> str | None:
    """Return the id under which this process was submitted; None where it was not."""
    found = _job_config().get("metadata", {}).get("job_submission_id")
    return None if found is None else str(found)


def runtime_env_of_job() -> dict[str, Any]:
    """Return the runtime environment with which this process was submitted."""
    return _job_config().get("runtime_env") or {}


def _job_config() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(os.environ.get(_JOB_CONFIG, "{}"))
    except ValueError:
        return {}
    return found


def check_outputs(arguments: argparse.Namespace, outputs: Sequence[str]) -> None:
    """Check each of the named arguments with `check_output`; those that were not given pass."""
    for name in outputs:
        value = getattr(arguments, name)
        if value is not None:
            check_output(value, f"--{name.replace('_', '-')}")


def check_output(value: Path | str, option: str) -> None:
    """Refuse, in a submitted job, a relative path that is to be written to or to outlive the job.

    Args:
        value: a path, or the SQLAlchemy URL of a database.
        option: what names it, for the message.

    Raises:
        ConfigError: it names an absolute path.
    """
    if submission_id() is None:
        return
    is_path = isinstance(value, Path)
    path = value if isinstance(value, Path) else storage.relative_sqlite_file(value)
    if path is None or path.is_absolute():
        return
    example = f"{'' if is_path else 'sqlite:///'}/shared/raysys/{path.name}"
    raise ConfigError(
        f"{option} is {str(value)!r}, a relative path. A submitted job runs in a temporary copy of "
        f"its working directory, which is removed after it, and with it whatever lies there. Name "
        f"an absolute path that every node of the cluster sees, such as {example}."
    )
