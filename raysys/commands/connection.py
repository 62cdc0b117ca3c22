"""Connecting to the Ray cluster that RAY_ADDRESS names, or saying at once why that cannot be.

`ray.init` tries for 20 s to 2 minutes, writes each try to standard error from C++, and ends with
"failed to connect", or with the process, whatever the reason was. So one call asks first.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

import grpc
import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.grpc_utils import init_grpc_channel
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.job_config import JobConfig

from raysys.commands.submission import runtime_env_of_job
from raysys.errors import ClusterError
from raysys.precedence import nice_python

_TIMEOUT_S = 10.0
_HOW_TO_PASS_THE_TOKEN = (
    "Set RAY_AUTH_MODE=token, and have the cluster's own token in ~/.ray/auth_token (or in "
    "RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names): on the head node "
    "`ray get-auth-token` prints it."
)


def existing_cluster() -> str | None:
    """Return the RAY_ADDRESS of a cluster that runs already; None where none is named."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def connect(address: str, metadata: Mapping[str, str], *, niceness: int = 0) -> Any:
    """Connect this process to a running cluster and return what `ray.init` returns.

    Args:
        address: "auto", or host:port of the cluster's head.
        metadata: shown on the dashboard's job page.
        niceness: of every worker that is started for this process, from its first instruction on.

    Raises:
        ClusterError: there is no such cluster, or it does not take this process's token.
    """
    check_reachable(address)
    is_told = "py_executable" in runtime_env_of_job()  # Ray takes it from one of the two only
    try:
        return ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            job_config=JobConfig(metadata=dict(metadata)),
            runtime_env=(
                {"py_executable": nice_python(niceness)} if niceness and not is_told else None
            ),
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterError(f"The Ray cluster at {address} cannot be used: {error}") from error


def check_reachable(address: str) -> None:
    """Ask the cluster who it is, with this process's token; ClusterError when it does not say."""
    if "://" in address:
        raise ClusterError(
            f"RAY_ADDRESS is {address}, which is no address of a cluster but of its dashboard or "
            f"client server. Set it to `auto` on a node of the cluster, or to the HOST:PORT that "
            f"`ray start` was given. Where only `ray job submit` is meant to read it, set "
            f"RAY_API_SERVER_ADDRESS instead."
        )
    if address == "auto":  # as `ray.init` does; elsewhere a token is sent only when asked to
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        target = canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, ValueError, OSError) as error:
        raise ClusterError(
            f"RAY_ADDRESS is {address!r}, but no Ray cluster is found there: {error} Start one "
            f"with `ray start --head`, or unset RAY_ADDRESS to run on a local Ray."
        ) from error
    stubs: Any = gcs_service_pb2_grpc  # generated, so without types
    messages: Any = gcs_service_pb2
    try:
        # The channel carries the token; building it fails where one is needed and none is there.
        with init_grpc_channel(target) as channel:
            service = stubs.NodeInfoGcsServiceStub(channel)
            service.GetClusterId(
                messages.GetClusterIdRequest(), timeout=_TIMEOUT_S, wait_for_ready=True
            )
    except ray.exceptions.AuthenticationError as error:
        raise ClusterError(
            f"RAY_AUTH_MODE is token, but there is none to show to the Ray cluster at {target}. "
            f"{_HOW_TO_PASS_THE_TOKEN}"
        ) from error
    except grpc.RpcError as error:
        raise _explained(error, target) from error


def _explained(error: Any, target: str) -> ClusterError:
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        is_given = os.environ.get("RAY_AUTH_MODE") == "token"
        what = "does not know this token" if is_given else "lets nobody in without a token"
        return ClusterError(f"The Ray cluster at {target} {what}. {_HOW_TO_PASS_THE_TOKEN}")
    return ClusterError(
        f"No Ray cluster answered at {target} within {_TIMEOUT_S:.0f} s ({error.details()}). Is "
        f"it running (`ray status`)? Start one with `ray start --head`, name another one in "
        f"RAY_ADDRESS, or unset RAY_ADDRESS to run on a local Ray."
    )
