"""Deploying an application as `serve deploy` does, and waiting until it answers."""

import contextlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from raysys.commands.api_client import ApiClient, Reply
from raysys.commands.cluster import Cluster
from raysys.config import CampaignsConfig, ServingConfig, parse_config
from raysys.errors import ServingError
from raysys.serving.nodes import HEAD_RESOURCE, is_on_head_node

APPLICATION = "raysys"
_POLL_S = 0.05
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception): ", re.MULTILINE)


def application_config(config: ServingConfig, campaigns: CampaignsConfig) -> dict[str, Any]:
    """Return the entry of a Serve config file's `applications` that answers from some releases."""
    return {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": "raysys.api.build:build_app",
        "args": config.model_dump(mode="json"),
        "deployments": [
            {"name": "Campaigns", "user_config": campaigns.model_dump(mode="json")},
        ],
    }


def campaigns_of(application: Mapping[str, Any]) -> CampaignsConfig:
    """Return what an entry of `applications` says of campaigns; none where it says nothing."""
    given = [
        deployment["user_config"]
        for deployment in application.get("deployments", [])
        if deployment["name"] == "Campaigns" and deployment.get("user_config")
    ]
    source = "user_config of the deployment Campaigns"
    return parse_config(given[0] if given else {"campaigns": {}}, CampaignsConfig, source=source)


def empty_application_config(num_replicas: int, cpus_per_replica: float) -> dict[str, Any]:
    """Return an application that does nothing, to compare start-up times with."""
    return {
        "name": "empty",
        "route_prefix": "/empty",
        "import_path": "raysys.commands.empty_app:build_app",
        "args": {"num_replicas": num_replicas, "cpus_per_replica": cpus_per_replica},
    }


class Deployer:
    """Talks to the Ray dashboard of one cluster, as the `serve` command does."""

    def __init__(self, cluster: Cluster, *, host: str, port: int) -> None:
        """Connect to the dashboard.

        Raises:
            ServingError: it cannot be reached, or refuses this process's token.
        """
        self.url = f"http://{_address_of(host)}:{port}"
        self._http_options = {"host": host, "port": port}
        # On the head no worker is started to ask: it would take cores from those that are asked.
        is_here = cluster.is_local or is_on_head_node()
        self._get = _from_here(self.url) if is_here else _from_head_node(self.url)
        with _explained(cluster.dashboard_url):
            self._client = ServeSubmissionClient(cluster.dashboard_url)
        self._dashboard_url = cluster.dashboard_url

    @classmethod
    def of_running_serve(cls, cluster: Cluster) -> "Deployer":
        """Connect to the dashboard of a cluster whose Serve listens somewhere already.

        Raises:
            ServingError: as of the constructor, or there is no Serve.
        """
        with _explained(cluster.dashboard_url):
            found = ServeSubmissionClient(cluster.dashboard_url).get_serve_details()
        options = found.get("http_options")
        if not options:
            raise ServingError("Serve does not run on this cluster, so nothing is deployed there.")
        return cls(cluster, host=options["host"], port=options["port"])

    def deploy(
        self,
        application: dict[str, Any],
        *,
        ready_path: str,
        expect: Callable[[Any, Collection[str]], bool] = lambda body, gateways: True,
        keep_others: bool = False,
        timeout_s: float = 180.0,
    ) -> float:
        """Deploy an application, wait until it answers, and return the seconds.

        Args:
            application: an entry of `applications`; it replaces the one of the same name.
            ready_path: answered with 200 once the application is ready.
            expect: asked of the JSON of each such answer, and the names of the replicas of the
                ingress that run, until it is satisfied: while one release replaces another, the old
                one still answers. The JSON is None while there is none; it may raise, to give up.
            keep_others: leave other applications as they are; else they are removed.

        Raises:
            ServingError: the application was refused, failed to start, or was not ready in time.
        """
        started = time.monotonic()
        name = application["name"]
        with _explained(self._dashboard_url):
            others = self._others(name) if keep_others else []
            self._client.deploy_applications(
                {
                    "http_options": self._http_options,
                    "proxy_location": "HeadOnly",
                    "applications": [*others, application],
                }
            )
        while not self._is_ready(name, ready_path, expect):
            if time.monotonic() - started > timeout_s:
                raise ServingError(
                    f"Application {name} was not ready after {timeout_s:.0f} s: "
                    f"{self._status(name)}"
                )
            time.sleep(_POLL_S)
        return time.monotonic() - started

    def deployed(self) -> dict[str, Any] | None:
        """Return the entry of `applications` by which raysys is deployed now, None if it is not."""
        with _explained(self._dashboard_url):
            details = self._client.get_serve_details()["applications"].get(APPLICATION, {})
        found: dict[str, Any] | None = details.get("deployed_app_config")
        return found

    def _others(self, name: str) -> list[dict[str, Any]]:
        """Return the configs of the other applications, unless Serve listens elsewhere."""
        details = self._client.get_serve_details()
        found = details.get("http_options")
        if found and any(found[key] != value for key, value in self._http_options.items()):
            raise ServingError(
                f"Serve of this cluster listens on {found['host']}:{found['port']} already, and "
                f"keeps that address as long as it runs: {self.url} would never answer. Deploy "
                f"with --host {found['host']} --port {found['port']}, or end it first with `serve "
                f"shutdown`, and with it all of its applications."
            )
        applications = details["applications"].items()
        configs = [entry["deployed_app_config"] for other, entry in applications if other != name]
        return [config for config in configs if config]  # without: not deployed by a config

    def _is_ready(
        self, name: str, path: str, expect: Callable[[Any, Collection[str]], bool]
    ) -> bool:
        status = self._status(name)
        if status.get("status") == "DEPLOY_FAILED":
            why = [f"{each}: {reason}" for each, reason in status["reasons"].items()]
            told = " ".join([str(status.get("message")), *why])
            raise ServingError(f"Application {name} failed to start: {told}")
        reply = None
        if status.get("status") == "RUNNING":
            with contextlib.suppress(ServingError):  # nothing listens yet
                reply = self._get(path)
        is_ready = reply is not None and reply.status == 200
        body = reply.body if reply is not None and is_ready else None
        return expect(body, status["gateways"]) and is_ready

    def _status(self, name: str) -> dict[str, Any]:
        with _explained(self._dashboard_url):
            details = self._client.get_serve_details()["applications"].get(name, {})
        deployments = details.get("deployments", {})
        # Of an application Serve says which deployments failed, and of each of those why.
        reasons = {
            name: _reason(each["message"]) for name, each in deployments.items() if each["message"]
        }
        gateways = [
            replica["replica_id"]
            for replica in deployments.get("Gateway", {}).get("replicas", [])
            if replica["state"] == "RUNNING"
        ]
        told = {key: details.get(key) for key in ("status", "message")}
        return {**told, "reasons": reasons, "gateways": gateways}


def _reason(message: str) -> str:
    """Return what the last exception says of the traceback in a message, else the message."""
    raised = [*_RAISED.finditer(message)]
    return (message[raised[-1].end() :] if raised else message).strip()


def _address_of(host: str) -> str:
    """Return what to ask at where a server listens on `host`."""
    every = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return every.get(host) or (f"[{host}]" if ":" in host and host[0] != "[" else host)


@contextmanager
def _explained(dashboard_url: str) -> Iterator[None]:
    """Turn what the dashboard's client raises into a ServingError."""
    try:
        yield
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise ServingError(
            f"The Ray dashboard at {dashboard_url}, through which applications are deployed, "
            f"refused or did not answer: {error}"
        ) from error


def _from_here(url: str) -> Callable[[str], Reply]:
    """Return what asks an application whose proxy runs on this machine."""

    def get(path: str) -> Reply:
        with contextlib.closing(ApiClient(url, timeout_s=10)) as client:
            return client.get(path)

    return get


def _from_head_node(url: str) -> Callable[[str], Reply]:
    """Return what asks an application of the cluster that this process is connected to.

    Its proxy listens on the loopback address of the head node; this process may run on another.
    """

    @ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001})
    def ask(path: str) -> Reply:
        return _from_here(url)(path)

    def get(path: str) -> Reply:
        reply: Reply = ray.get(ask.remote(path))
        return reply

    return get
