"""Everything that an operator runs, submitted to a cluster over the real job API."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from benchmarks.steady_load import steady_load
from raysys.commands.api_client import ApiClient, Reply
from raysys.commands.released_model import ReleasedModel
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.simulator import Simulator
from raysys.release import HISTORIES, ITEM_VOCABULARY, Release, open_release
from raysys.serving.cluster import free_port
from raysys.state.store import StateStore
from tests.wiring.jobs_cluster import Job, JobsCluster, jobs_cluster

pytestmark = pytest.mark.ray

SETTINGS = """
model: {kind: gru, hidden_dimension: 32, bptt: 8, history_length: 16}
training: {batch_size: 64, max_epochs: 2}
index: {num_partitions: 2}
"""
GROUP = ("--dataset-group", "films")


@pytest.fixture(scope="module")
def cluster() -> Iterator[JobsCluster]:
    with jobs_cluster() as cluster:
        yield cluster


@dataclass
class Shop:
    """A directory that every node sees, with a log in it; its data belong to the group `films`."""

    directory: Path
    log: Path
    items: Path
    port: int

    @property
    def dataset(self) -> str:
        return f"{self.directory}/dataset"

    @property
    def settings(self) -> str:
        return f"{self.directory}/settings.yaml"

    @property
    def releases(self) -> str:
        return f"{self.directory}/releases"

    @property
    def database(self) -> str:
        return f"sqlite:///{self.directory}/state.db"

    def recommend(self, user_id: str) -> Reply:
        with contextlib.closing(ApiClient(f"http://127.0.0.1:{self.port}")) as client:
            return client.recommend(user_id, num_results=5)

    def put_event(self, user_id: str, item_id: str) -> None:
        with contextlib.closing(ApiClient(f"http://127.0.0.1:{self.port}")) as client:
            event = {"eventType": "watch", "itemId": item_id, "sentAt": time.time()}
            client.put_events("default", user_id, [event])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    directory = tmp_path_factory.mktemp("shop")
    files = Simulator(seed=1, num_users=120, num_items=80, mean_history=20).write(directory / "log")
    assert files.items is not None
    (directory / "settings.yaml").write_text(SETTINGS)
    return Shop(directory, files.interactions, files.items, free_port())


def succeeded(job: Job) -> Job:
    assert (job.status, job.exit_code) == ("SUCCEEDED", 0), job.log
    assert job.result["ok"] is True
    assert [line for line in job.own_lines if "\x1b" in line or "\r" in line] == []
    return job


def released(job: Job) -> Release:
    """Return the release that a job made, which its page names and which is of the shop's group."""
    succeeded(job)
    release = open_release(Path(job.result["release"]))
    assert job.metadata["release"] == release.name
    assert release.dataset_group == "films"
    return release


@pytest.fixture(scope="module")
def imported(cluster: JobsCluster, shop: Shop) -> Job:
    return cluster.submit(
        "import_log", "--interactions", str(shop.log), "--items", str(shop.items),
        "--to", shop.dataset, "--shards", "2", *GROUP,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(cluster: JobsCluster, shop: Shop, imported: Job) -> Job:
    return cluster.submit(
        "train", shop.dataset, "--releases", shop.releases, "--config", shop.settings, *GROUP
    )


def test_import_tells_its_page_and_its_log_what_it_does(shop: Shop, imported: Job) -> None:
    result = succeeded(imported).result
    assert result["rows_accepted"] == result["rows_in"] > 0
    assert imported.metadata["command"] == "import"
    assert imported.metadata["dataset"] == shop.dataset
    assert imported.metadata["rows_accepted"] == str(result["rows_accepted"])
    assert "  importing rows: " in imported.log


def test_train_and_evaluate_show_the_release_and_its_metric(
    cluster: JobsCluster, shop: Shop, trained: Job
) -> None:
    release = released(trained)
    shown = {
        "dataset": shop.dataset,
        "release": release.name,
        "ndcg_at_10": f"{release.manifest.metrics['ndcg_at_10']:.4f}",
    }
    assert {"command": "train", **shown}.items() <= trained.metadata.items()
    assert "  training: 2 of 2, loss " in trained.log
    evaluated = succeeded(
        cluster.submit("evaluate", shop.dataset, "--release", str(release.path), *GROUP)
    )
    assert evaluated.result["release"] == release.name
    assert shown.items() <= evaluated.metadata.items()


def test_tune_makes_its_best_trial_a_release(
    cluster: JobsCluster, shop: Shop, imported: Job
) -> None:
    job = cluster.submit(
        "tune", shop.dataset, "--releases", f"{shop.directory}/tuned", "--trials", "1",
        "--search", f"{shop.directory}/search", "--config", shop.settings,
        "--space", "hidden_dimension=32:40", "--space", "bptt=4:8", *GROUP,
    )  # fmt: skip
    released(job)
    assert job.result["trials"] == int(job.metadata["trials"]) == 1


def test_release_indexes_anew(cluster: JobsCluster, shop: Shop, trained: Job) -> None:
    source = released(trained)
    again = ("--releases", f"{shop.directory}/reindexed", "--partitions", "1")
    release = released(cluster.submit("release", str(source.path), *again))
    assert (source.manifest.num_partitions, release.manifest.num_partitions) == (2, 1)


def test_what_is_deployed_answers_and_an_update_learns_from_what_people_then_do(
    cluster: JobsCluster, shop: Shop, trained: Job
) -> None:
    release = released(trained)
    serving = ("--database", shop.database, "--port", str(shop.port), *GROUP)
    deployed = succeeded(
        cluster.submit("deploy", "--release", shop.releases, "--shards", "1", *serving)
    )
    assert deployed.metadata["release"] == release.name
    assert deployed.result["releases"] == [release.name]
    assert deployed.metadata["url"] == f"http://127.0.0.1:{shop.port}"
    reply = shop.recommend("u1")
    assert reply.headers["x-raysys-release"] == release.name
    assert len(reply.body["itemList"]) == 5

    shop.put_event("u1", reply.body["itemList"][0]["itemId"])
    events, newer = f"{shop.directory}/events", f"{shop.directory}/newer"
    exported = succeeded(
        cluster.submit("export_events", "--database", shop.database, "--to", events, *GROUP)
    )
    assert exported.result["interactions"] == int(exported.metadata["interactions"]) == 1

    succeeded(
        cluster.submit(
            "import_log", "--interactions", str(shop.log), f"{events}/interactions.parquet",
            "--items", str(shop.items), "--to", newer, "--shards", "2", *GROUP,
        )
    )  # fmt: skip
    of_old = (
        "--release",
        str(release.path),
        "--releases",
        shop.releases,
        "--epochs",
        "1",
        "--no-gate",
    )
    job = cluster.submit("update", newer, *of_old)
    updated = released(job)
    assert updated.manifest.lineage["updated_from"] == job.metadata["updated_from"] == release.name

    # As plain programs on the head node, over an application that runs already and is asked.
    def deploy(path: Path) -> tuple[int, dict[str, Any]]:
        said = ("jobs/deploy.py", "--release", str(path), "--port", str(shop.port), *GROUP)
        return ran(cluster, *said)

    third = damaged(cluster, updated, shop)
    expected = {each.name: lists_of(each, all_but="u1") for each in (release, updated)}
    processes = replica_processes(cluster)
    with steady_load(f"http://127.0.0.1:{shop.port}", expected) as seen:
        code, line = deploy(updated.path)
        assert (code, line.get("releases")) == (0, [updated.name]), line
        assert shop.recommend("u1").headers["x-raysys-release"] == updated.name
        code, line = deploy(third.path)
        assert (code, line["error"]) == (1, "ServingError")
        assert "encoder: Release" in line["message"]
        assert "What it answered from before, if anything, it still does" in line["message"]
        assert shop.recommend("u1").headers["x-raysys-release"] == updated.name
        code, line = ran(cluster, "-m", "raysys", "rollback", "--port", str(shop.port))
        assert (code, line.get("releases")) == (0, [release.name]), line
        assert shop.recommend("u1").headers["x-raysys-release"] == release.name
    assert seen.wrong == []
    assert seen.releases == {(release.name, updated.name, release.name)}
    assert len(seen.answers) > 100
    assert replica_processes(cluster) == processes  # nothing was started anew
    listed = ran(cluster, "-m", "raysys", "campaign", "list", "--database", shop.database, *GROUP)[
        1
    ]["campaigns"]
    assert [(each["version"], each["status"]) for each in listed] == [
        (4, "serving"),
        (3, "failed"),
        (2, "kept"),
        (1, "replaced"),
    ]
    assert "damaged" in listed[1]["reason"]


def kill_at_step(cluster: JobsCluster, shop: Shop, step: str) -> None:
    """Kill the process of the round that runs, when it has come to a step."""
    deadline = time.monotonic() + 120
    with contextlib.closing(StateStore(shop.database, "films")) as store:
        while True:
            newest = store.learning("default").now(1).rounds
            if newest and (newest[0].status, newest[0].step) == ("running", step):
                break
            assert time.monotonic() < deadline, newest
            time.sleep(0.05)
    [process] = [
        each
        for each in psutil.process_iter(["cmdline"])
        if (each.info["cmdline"] or [])[1:5] == ["-m", "raysys", "learn", "now"]
        and each.environ().get("HOME") == cluster.environment["HOME"]
    ]
    process.kill()


def history_of(user_id: str, release: Release) -> list[str]:
    histories = Histories.open(release.file(HISTORIES))
    [row] = histories.rows_of([user_id])
    return Vocabulary.open(release.file(ITEM_VOCABULARY)).ids_of(histories.of(int(row))[0])


def test_what_is_deployed_learns_by_itself_and_goes_on_where_that_fails(
    cluster: JobsCluster, shop: Shop, trained: Job
) -> None:
    first, dataset = released(trained), f"{shop.directory}/learnt"
    shutil.copytree(shop.dataset, dataset)

    def deploy(releases: str) -> None:
        settings = {
            "database": shop.database,
            "dataset_group": "films",
            "num_shards": 1,
            "campaigns": {"default": {"release": str(first.path)}},
            "learning": {
                "dataset": dataset,
                "releases": releases,
                "every_minutes": 0.05,
                "gate": None,
                "epochs": 1,
                "niceness": 1,  # other tests run beside it
            },
        }
        file = shop.directory / "learning.yaml"
        file.write_text(json.dumps(settings))
        said = ("jobs/deploy.py", "--config", str(file), "--port", str(shop.port))
        code, line = ran(cluster, *said)
        assert code == 0, line

    def ended(status: str) -> dict[str, Any]:
        """Wait for a round that ends so, and return it."""
        on_database = ("--database", shop.database, *GROUP)
        deadline = time.monotonic() + 120
        while True:
            rounds = ran(cluster, "-m", "raysys", "learn", "list", *on_database)[1]["rounds"]
            found: list[dict[str, Any]] = [each for each in rounds if each["status"] == status]
            if found:
                return found[0]
            assert time.monotonic() < deadline, rounds
            time.sleep(0.5)

    deploy(f"{shop.directory}/learnt-releases")
    liked = shop.recommend("u2").body["itemList"][0]["itemId"]
    shop.put_event("u2", liked)
    kill_at_step(cluster, shop, "training")
    assert shop.recommend("u2").headers["x-raysys-release"] == first.name
    lost = ended("lost")
    assert (lost["step"], lost["published"]) == ("training", None)
    assert "exit code -9" in lost["reason"]
    learnt = ended("deployed")  # by the next round, at once
    assert (learnt["mode"], learnt["release"]) == ("UPDATE", first.name)
    reply = shop.recommend("u2")
    assert reply.headers["x-raysys-release"] == learnt["published"] != first.name
    release = open_release(Path(f"{shop.directory}/learnt-releases"))
    assert release.name == learnt["published"]
    assert history_of("u2", release) == [*history_of("u2", first), liked]  # once

    deploy(f"{shop.log}/no-directory")  # the old release again, and nothing can be published
    shop.put_event("u3", liked)
    failed = ended("failed")
    assert failed["step"] == "training"
    assert "no-directory" in failed["reason"] or "Not a directory" in failed["reason"]
    assert shop.recommend("u3").headers["x-raysys-release"] == first.name


def test_a_job_that_cannot_be_done_fails_with_its_exit_code_and_says_why(
    cluster: JobsCluster, shop: Shop
) -> None:
    job = cluster.submit("train", f"{shop.directory}/nothing", "--releases", shop.releases)
    assert (job.status, job.exit_code) == ("FAILED", 1)
    assert job.result["error"] == "DatasetError"

    job = cluster.submit("import_log", "--interactions", str(shop.log), "--to", "runs/dataset")
    assert (job.status, job.exit_code) == ("FAILED", 1)
    assert job.result["error"] == "ConfigError"
    assert "such as /shared/raysys/dataset" in job.result["message"]

    job = cluster.submit("evaluate", "--nonsense")
    assert (job.status, job.exit_code) == ("FAILED", 2)
    assert "usage: raysys evaluate" in job.log


def test_more_workers_than_the_cluster_holds_are_refused_at_once(
    cluster: JobsCluster, shop: Shop, imported: Job
) -> None:
    done = cluster.run(
        sys.executable, "jobs/train.py", shop.dataset, "--releases", f"{shop.directory}/none",
        "--workers", "9", "--json",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    line = json.loads(done.stdout)
    assert line["error"] == "ConfigError"
    assert "9 training workers were asked for" in line["message"]
    assert "room for 4" in line["message"]
    assert list(Path(f"{shop.directory}/none").glob("*")) == []
    drivers = [job.metadata for job in cluster.client().list_jobs() if job.type == "DRIVER"]
    assert {"command": "train", "dataset": shop.dataset}.items() <= drivers[-1].items()


def test_nobody_submits_a_job_without_the_token(cluster: JobsCluster) -> None:
    before = len(cluster.client().list_jobs())
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(AuthenticationError):
            JobSubmissionClient(cluster.dashboard_url, headers=headers).submit_job(entrypoint="id")
    assert len(cluster.client().list_jobs()) == before


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RAY_AUTH_TOKEN": "wrong"}, "does not know this token"),
        ({"RAY_AUTH_MODE": ""}, "lets nobody in without a token"),
        ({"HOME": "/nowhere"}, "RAY_AUTH_MODE is token, but there is none"),
        ({"RAY_ADDRESS": "http://127.0.0.1:8265"}, "RAY_API_SERVER_ADDRESS"),
    ],
)
def test_a_command_that_the_cluster_does_not_let_in_says_what_to_set(
    environment: dict[str, str], message: str, cluster: JobsCluster, shop: Shop
) -> None:
    log, to = str(shop.log), f"{shop.directory}/refused"
    command = (sys.executable, "jobs/import_log.py", "--interactions", log, "--to", to, "--json")
    done = cluster.run(*command, **environment)
    assert done.returncode == 1
    line = json.loads(done.stdout)
    assert line["error"] == "ClusterError"
    assert message in line["message"]
    assert not Path(to).exists()


def ran(cluster: JobsCluster, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a Python program on the cluster's node; return its exit code and its last line."""
    done = cluster.run(sys.executable, *arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, found


def damaged(cluster: JobsCluster, source: Release, shop: Shop) -> Release:
    """Return a release of its own with the source's weights, of which one byte is another."""
    again = ("--releases", f"{shop.directory}/third", "--index", "Flat", "--partitions", "3")
    code, line = ran(cluster, "jobs/release.py", str(source.path), *again)
    assert code == 0, line
    release = open_release(Path(line["release"]))
    weights = next((release.path / "model").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return release


def lists_of(release: Release, *, all_but: str) -> dict[str, list[str]]:
    """Return the lists that evaluation ranks for the users of a release."""
    model = ReleasedModel(release)
    lists = model.ranked(model.histories, 5, max_seen_items=2000)
    by_user = dict(zip(model.histories.user_ids.to_pylist(), lists, strict=True))
    by_user.pop(all_but)
    return {user_id: found for user_id, found in by_user.items() if len(found) == 5}


def replica_processes(cluster: JobsCluster) -> set[int]:
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if any("ServeReplica:raysys" in word for word in process.info["cmdline"] or ())
        and (process.info["environ"] or {}).get("HOME") == cluster.environment["HOME"]
    }
