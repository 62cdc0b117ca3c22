"""An application on the Serve of this process."""

import contextlib
import time

from ray import serve

from raysys.api.build import build_application
from raysys.commands.api_client import ApiClient
from raysys.config import CampaignsConfig, ServingConfig
from raysys.release import Release


def serve_release(config: ServingConfig, release: Release, url: str) -> None:
    """Return when the application answers from a release."""
    campaigns = CampaignsConfig.of_release(str(release.path))
    serve.run(build_application(config, campaigns), name="raysys", route_prefix="/")
    deadline = time.monotonic() + 120
    while not _is_ready(url):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    with contextlib.closing(ApiClient(url)) as client:
        return client.get("/readyz").status == 200
