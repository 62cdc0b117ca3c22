"""Deploying an application as `serve deploy` does, and waiting until it answers."""

import time
from typing import Any

from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from raysys.commands.api_client import ApiClient
from raysys.config import ServingConfig
from raysys.errors import ServingError

_POLL_S = 0.05


def application_config(config: ServingConfig) -> dict[str, Any]:
    """Return the entry of a Serve config file's `applications` for one campaign."""
    return {
        "name": "raysys",
        "route_prefix": "/",
        "import_path": "raysys.api.build:build_app",
        "args": config.model_dump(mode="json"),
    }


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

    def __init__(self, dashboard_url: str, *, host: str, port: int) -> None:
        self._client = ServeSubmissionClient(dashboard_url)
        self._http_options = {"host": host, "port": port}
        self.url = f"http://{host}:{port}"

    def deploy(
        self, application: dict[str, Any] | None, *, ready_path: str, timeout_s: float = 180.0
    ) -> float:
        """Make this the only application, wait until it answers, and return the seconds.

        Args:
            application: an entry of `applications`; None removes what runs.
            ready_path: answered with 200 once the application is ready.

        Raises:
            ServingError: the application failed to start, or was not ready in time.
        """
        started = time.monotonic()
        self._client.deploy_applications(
            {
                "http_options": self._http_options,
                "proxy_location": "HeadOnly",
                "applications": [] if application is None else [application],
            }
        )
        if application is None:
            return time.monotonic() - started
        client = ApiClient(self.url, timeout_s=10)
        try:
            while not self._is_ready(application["name"], client, ready_path):
                if time.monotonic() - started > timeout_s:
                    raise ServingError(
                        f"Application {application['name']} was not ready after {timeout_s:.0f} s: "
                        f"{self._status(application['name'])}"
                    )
                time.sleep(_POLL_S)
        finally:
            client.close()
        return time.monotonic() - started

    def _is_ready(self, name: str, client: ApiClient, path: str) -> bool:
        try:
            if client.get(path).status == 200:
                return True
        except ServingError:
            pass  # nothing listens yet
        status = self._status(name)
        if status.get("status") == "DEPLOY_FAILED":
            raise ServingError(f"Application {name} failed to start: {status.get('message')}")
        return False

    def _status(self, name: str) -> dict[str, Any]:
        applications = self._client.get_serve_details()["applications"]
        details = applications.get(name, {})
        return {key: details.get(key) for key in ("status", "message")}
