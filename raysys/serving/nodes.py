"""What the parts have to know of the nodes they run on: addresses, and whether there are several.

Serve has no settings for most of this, so it is done here to Serve's own replica module.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import ray

from raysys.config import Authentication
from raysys.errors import ServingError
from raysys.serving.listen import check_listen_address

_LOG = logging.getLogger("raysys.serving")

HEAD_RESOURCE = "node:__internal_head__"  # every head node has it, and no other node


def check_proxy_address(authentication: Authentication) -> None:
    """Refuse to serve without authentication behind a proxy that others can reach; ServingError.

    Where no Serve runs yet there is nothing to refuse: every gateway asks again when it starts.
    """
    for host in _proxy_hosts():
        check_listen_address(host, authentication)


def gateway_hosts() -> list[str | None]:
    """Return the addresses at which others may reach the gateway that runs in this process.

    They are that of Serve's proxy and, away from the head node, the node's own
    (`listen_for_proxy_of_head`). None means every interface.
    """
    hosts = _proxy_hosts()
    return hosts if is_on_head_node() else [*hosts, node_address()]


def _proxy_hosts() -> list[str | None]:
    """Return where Serve's proxy listens; nothing where no Serve runs yet."""
    from ray.serve.context import _get_global_client  # Serve has no public way to ask for it

    if not ray.is_initialized():  # asking would start a Ray
        return []
    client = _get_global_client(raise_if_no_controller_running=False)
    return [] if client is None else [client.http_config.host]


def running_replicas(application: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the part of each replica of an application that runs, by the replica's id.

    Args:
        parts: of the deployments that are asked for, by their names.
    """
    from ray.serve.context import _get_global_client  # as above

    client = _get_global_client()
    assert client is not None
    deployments = client.get_serve_details()["applications"][application]["deployments"]
    return {
        replica["replica_id"]: part
        for deployment, part in parts.items()
        for replica in deployments.get(deployment, {}).get("replicas", [])
        if replica["state"] == "RUNNING"
    }


def check_database(url: str) -> None:
    """Refuse SQLite on a cluster of several nodes; ServingError.

    A SQLite file belongs to one node: parts on two would each write their own, or, on a network
    file system, damage a common one. Where no Ray runs yet there is nothing to refuse: every part
    that opens the database asks again when it starts.
    """
    if not url.startswith("sqlite") or not ray.is_initialized():
        return
    addresses = [node["NodeManagerAddress"] for node in _nodes() if node["Alive"]]
    if len(addresses) > 1:
        raise ServingError(
            f"The database is SQLite ({url}), but this cluster has {len(addresses)} nodes "
            f"({', '.join(sorted(addresses))}). A SQLite file belongs to one node: what one part "
            f"stores there, parts on other nodes would never see. Use PostgreSQL: "
            f"`database: postgresql://USER:PASSWORD@HOST/NAME`."
        )


def listen_on_node_address() -> None:
    """Keep the port on which Serve's replicas call each other from every interface but the node's.

    Serve binds it to all of them and unpickles what it gets there, so whoever reaches it runs code
    here. On a single machine the node's address is 127.0.0.1 (`serving.cluster`). To be called in
    a replica's constructor, after which Serve opens the port.
    """
    module = _replica_module("add_port_to_grpc_server")
    if module is None:
        return
    bind: Callable[[Any, str], int] = module.add_port_to_grpc_server
    host = node_address()
    shown = f"[{host}]" if ":" in host else host
    module.add_port_to_grpc_server = lambda server, address: bind(
        server, address.replace("[::]", shown)
    )


def listen_for_proxy_of_head() -> None:
    """Let HAProxy on the head node reach a gateway that runs on another node.

    Serve binds a gateway's port to the address on which HAProxy itself listens, which is loopback,
    and sends HAProxy to the node's address. So the port is opened on both. On the head node
    nothing changes. To be called as `listen_on_node_address` is.
    """
    module = _replica_module("start_asgi_http_server")
    if module is None or is_on_head_node():
        return
    start: Callable[..., Any] = module.start_asgi_http_server
    host = node_address()

    async def start_on_both(app: Any, options: Any, **settings: Any) -> Any:
        task, server = await start(app, options, **settings)
        if options.host == host:
            return task, server
        try:
            _, second = await start(app, options.model_copy(update={"host": host}), **settings)
        except RuntimeError:  # the port is taken there: Serve tries the next one
            server.should_exit = True
            raise
        task.add_done_callback(lambda _: setattr(second, "should_exit", True))
        return task, server

    module.start_asgi_http_server = start_on_both


def _replica_module(function: str) -> Any:
    """Return Serve's module of that function; None, and a word in the log, when it is no more."""
    from ray.serve._private import replica

    if hasattr(replica, function):
        return replica
    _LOG.warning("This Ray opens ports in another way: look at what its replicas listen on.")
    return None


def node_address() -> str:
    """Return the address at which other nodes reach this one; loopback on a single machine."""
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def is_on_head_node() -> bool:
    """Say whether this process runs on the head node of the cluster that it is connected to."""
    here = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == here and HEAD_RESOURCE in node["Resources"] for node in _nodes())


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes
