"""Where raysys may listen: beyond this machine only where it knows who asks."""

import ipaddress
from collections.abc import Iterable

from raysys.config import Authentication
from raysys.errors import ServingError


def is_loopback(host: str | None) -> bool:
    """Say whether nobody outside of this machine can reach `host`.

    Args:
        host: as in Serve's `http_options`; None and the empty text mean every interface.
    """
    if not host:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def reachable(hosts: Iterable[str | None]) -> str | None:
    """Return how to call the first address that others can reach; None where there is none."""
    for host in hosts:
        if not is_loopback(host):
            return repr(host) if host else "every network interface"
    return None


def check_listen_address(host: str | None, authentication: Authentication) -> None:
    """Refuse an address that others could reach where authentication is off; ServingError."""
    where = reachable([host])
    if where is None or authentication != "off":
        return
    raise ServingError(
        f"raysys was asked to listen on {where} with `authentication: off`: whoever reaches the "
        f"port could read every user's recommendations and write events. Leave the setting out, "
        f"so that every request needs a key (`raysys keys create`; docs/authentication.md), or "
        f"listen on 127.0.0.1 (--host, or http_options.host in a Serve config)."
    )
