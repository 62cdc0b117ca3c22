"""Deploying beside other applications, and waiting for the right answer."""

from typing import Any

import pytest

from raysys.commands import deployment
from raysys.commands.api_client import Reply
from raysys.commands.cluster import Cluster
from raysys.commands.deployment import Deployer
from raysys.errors import ServingError

APPLICATION = {"name": "raysys", "import_path": "new"}


class FakeDashboard:
    """Serve as its dashboard tells of it: every look at it moves it one state on."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)
        self.deployed: list[dict[str, Any]] = []
        self.http_options: dict[str, Any] | None = {"host": "127.0.0.1", "port": 8000}
        self.others: dict[str, Any] = {}

    def get_serve_details(self) -> dict[str, Any]:
        details = {"applications": {**self.others}, "http_options": self.http_options}
        if self.deployed:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            details["applications"]["raysys"] = state
        return details

    def deploy_applications(self, config: dict[str, Any]) -> None:
        self.deployed.append(config)


def deployer(
    dashboard: Any, monkeypatch: pytest.MonkeyPatch, *replies: Reply, port: int = 8000
) -> Deployer:
    waiting = list(replies)

    def get(path: str) -> Reply:
        if not waiting:
            raise ServingError("nothing listens")
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    monkeypatch.setattr(deployment, "ServeSubmissionClient", lambda _: dashboard)
    monkeypatch.setattr(deployment, "_from_here", lambda _: get)
    monkeypatch.setattr(deployment, "_POLL_S", 0)
    cluster = Cluster("http://127.0.0.1:8265", is_local=True)
    return Deployer(cluster, host="127.0.0.1", port=port)


def reply(status: int, body: Any = None) -> Reply:
    return Reply(status, body, {}, 1.0)


def test_other_applications_stay_if_asked_and_the_old_one_of_the_name_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard = FakeDashboard({"status": "RUNNING"})
    dashboard.others = {
        "raysys": {"deployed_app_config": {"name": "raysys", "import_path": "old"}},
        "shop": {"deployed_app_config": {"name": "shop", "import_path": "x"}},
        "made by serve.run": {"deployed_app_config": None},
    }
    deploy = deployer(dashboard, monkeypatch, reply(200)).deploy
    deploy(APPLICATION, ready_path="/readyz", keep_others=True)
    assert dashboard.deployed[-1]["applications"] == [
        {"name": "shop", "import_path": "x"},
        APPLICATION,
    ]
    deploy(APPLICATION, ready_path="/readyz")
    assert dashboard.deployed[-1]["applications"] == [APPLICATION]


def test_a_serve_that_listens_elsewhere_is_refused_before_anything_is_deployed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard = FakeDashboard({"status": "RUNNING"})
    with pytest.raises(ServingError, match="Deploy with --host 127.0.0.1 --port 8000"):
        deployer(dashboard, monkeypatch, reply(200), port=9000).deploy(
            APPLICATION, ready_path="/readyz", keep_others=True
        )
    assert dashboard.deployed == []


def test_it_is_ready_when_it_runs_and_the_new_release_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard = FakeDashboard({"status": "DEPLOYING"}, {"status": "RUNNING"})
    replies = [
        reply(503),
        reply(200, {"release": "old"}),
        reply(200, {"release": "new", "items": 3}),
        reply(418),
    ]
    asked = deployer(dashboard, monkeypatch, *replies)
    asked.deploy(
        APPLICATION,
        ready_path="/readyz",
        expect=lambda body, _: body is not None and body["release"] == "new",
    )
    assert asked._get("/readyz").status == 418  # it stopped asking at the third


def test_what_is_expected_may_depend_on_the_gateways_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = [
        {"replica_id": "g1", "state": "RUNNING"},
        {"replica_id": "g2", "state": "RUNNING"},
        {"replica_id": "g0", "state": "STOPPING"},
    ]
    gateway = {"message": "", "replicas": replicas}
    dashboard = FakeDashboard({"status": "RUNNING", "deployments": {"Gateway": gateway}})
    asked: list[object] = []
    deployer(dashboard, monkeypatch, reply(200)).deploy(
        APPLICATION,
        ready_path="/readyz",
        expect=lambda _, gateways: asked.append(gateways) or True,
    )
    assert asked == [["g1", "g2"]]


def test_an_application_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = FakeDashboard(
        {"status": "DEPLOYING"}, {"status": "DEPLOY_FAILED", "message": "no such release"}
    )
    with pytest.raises(ServingError, match="raysys failed to start: no such release"):
        deployer(dashboard, monkeypatch).deploy(APPLICATION, ready_path="/readyz")


TRACEBACK = """A replica failed to start with exception. Retrying 2 more time(s). Error:
Traceback (most recent call last):
  File "deployments.py", line 91, in reconfigure
    raise ConfigError(text)
raysys.errors.ConfigError: No valid CampaignsConfig can be made of this:
  campaigns.default.model: unknown key
"""


def test_an_application_that_fails_says_why_each_deployment_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployments = {
        "Campaigns": {"message": TRACEBACK},
        "Gateway": {"message": ""},
        "QueryEncoder": {"message": "No node has 4 GPUs."},
    }
    failed = {"status": "DEPLOY_FAILED", "message": "Two failed.", "deployments": deployments}
    with pytest.raises(ServingError) as caught:
        deployer(FakeDashboard(failed), monkeypatch).deploy(APPLICATION, ready_path="/readyz")
    assert str(caught.value) == (
        "Application raysys failed to start: Two failed. Campaigns: No valid CampaignsConfig can "
        "be made of this:\n  campaigns.default.model: unknown key "
        "QueryEncoder: No node has 4 GPUs."
    )


def test_one_that_never_answers_is_given_up_with_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard = FakeDashboard({"status": "RUNNING", "message": ""})
    with pytest.raises(ServingError, match="not ready after 0 s: .*RUNNING"):
        deployer(dashboard, monkeypatch).deploy(APPLICATION, ready_path="/readyz", timeout_s=0)


def test_what_the_dashboard_refuses_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(FakeDashboard):
        def deploy_applications(self, config: dict[str, Any]) -> None:
            raise RuntimeError("route prefix / is taken")

    with pytest.raises(ServingError, match="8265, .* refused .*: route prefix / is taken"):
        deployer(Refusing(), monkeypatch).deploy(APPLICATION, ready_path="/readyz")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
        ("10.0.0.7", "http://10.0.0.7:8000"),
    ],
)
def test_a_server_is_asked_at_an_address_and_not_at_every_interface(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "ServeSubmissionClient", lambda _: FakeDashboard())
    cluster = Cluster("http://127.0.0.1:8265", is_local=True)
    assert Deployer(cluster, host=host, port=8000).url == url
