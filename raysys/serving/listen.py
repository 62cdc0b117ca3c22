"""Where raysys may listen: on loopback and nowhere else, as long as it cannot tell who asks."""

import ipaddress

from raysys.errors import ServingError


def is_loopback(host: str) -> bool:
    """Say whether nobody outside of this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_listen_address(host: str | None) -> None:
    """Refuse an address that others could reach.

    Args:
        host: as in Serve's `http_options`; None and the empty text mean every interface.

    Raises:
        ServingError: it is not a loopback address.
    """
    if host and is_loopback(host):
        return
    shown = repr(host) if host else "every network interface"
    raise ServingError(
        f"raysys was asked to listen on {shown}, but it has no authentication yet: whoever reaches "
        f"the port could read every user's recommendations and write events. Listen on 127.0.0.1 "
        f"(http_options.host in a Serve config, or `serve.start(http_options={{'host': "
        f"'127.0.0.1'}})`), and let a proxy that authenticates stand before it."
    )
