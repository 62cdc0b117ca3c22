"""`raysys learn`, as an operator types it, and what turns the schedule on and off."""

import json
from pathlib import Path
from typing import Any

import pytest

from raysys.cli import main
from raysys.commands.arguments import build_parser
from raysys.commands.serving_settings import campaigns_config, serving_config
from raysys.config import LearningConfig
from raysys.errors import ConfigError, DatasetError
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.release import publishing
from raysys.state.store import StateStore
from tests.unit.logs.tools import write
from tests.unit.releases import published
from tests.unit.state.builders import sqlite_url


def test_the_list_says_what_became_of_each_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    table = store.learning("shop")
    words = ["learn", "list", "--database", sqlite_url(tmp_path), "--dataset-group", "films"]
    words += ["--application", "shop", "--json"]

    def rounds() -> list[dict[str, Any]]:
        assert main(words) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rounds"]
        return found

    assert rounds() == []
    lease = table.acquire("here", 60)
    assert lease is not None
    table.begin(lease)
    table.tell(lease, step="training", mode="FULL", release="r-1")
    table.add("nothing", "Nothing is new.")
    newest, running = rounds()
    assert (newest["status"], newest["reason"], newest["mode"]) == (
        "nothing",
        "Nothing is new.",
        None,
    )
    assert newest["ended_at"] == newest["began_at"]
    shown = {"status": "running", "step": "training", "mode": "FULL", "release": "r-1"}
    assert shown.items() <= running.items()
    assert (running["ended_at"], running["published"], running["owner"]) == (None, None, "here")
    store.close()


def test_to_learn_now_takes_a_cluster_that_serves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["learn", "now", "--json"]) == 1
    assert "RAY_ADDRESS names none" in json.loads(capsys.readouterr().out)["message"]


class Told:
    """What `raysys deploy` makes of arguments, about a release and a dataset of one group."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        log = write(directory / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\nann,a,1\n")
        self.dataset = directory / "dataset"
        import_log([log], self.dataset, num_shards=1, dataset_group="films", run=run_here)
        with publishing(directory / "releases") as draft:
            self.release = published(draft, lineage={"dataset_group": "films"}).path

    def learning(self, *more: object) -> LearningConfig | None:
        words = ["deploy", "--release", self.release, "--dataset-group", "films", *more]
        arguments = build_parser().parse_args([str(word) for word in words])
        return campaigns_config(arguments, serving_config(arguments)).learning


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_dataset_turns_learning_on(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told.learning() is None
    monkeypatch.chdir(told.directory)
    found = told.learning("--learn", "dataset", "--campaign", "home")
    releases = str(told.directory / "releases")  # beside the one that is served
    assert found == LearningConfig(dataset=str(told.dataset), releases=releases, campaign="home")
    more = ("--learn-every", 30, "--learn-releases", told.directory / "x")
    found = told.learning("--learn", "dataset", *more)
    assert found is not None
    assert (found.every_minutes, found.releases) == (30, str(told.directory / "x"))


def test_the_file_says_the_rest_and_one_word_turns_it_off(told: Told) -> None:
    file = write(
        told.directory / "serving.yaml",
        f"learning: {{dataset: {told.dataset}, releases: /r, full_every_days: 14, gate: null}}\n",
    )
    found = told.learning("--config", file, "--learn-every", 10)
    assert found is not None
    assert (found.every_minutes, found.full_every_days, found.gate) == (10, 14, None)
    assert told.learning("--config", file, "--no-learn") is None


def test_learning_from_nothing_or_from_another_groups_dataset_is_refused(told: Told) -> None:
    with pytest.raises(ConfigError, match="need --learn DATASET"):
        told.learning("--learn-every", 10)
    with pytest.raises(DatasetError):
        told.learning("--learn", told.directory / "nothing")
    other = told.directory / "other"
    import_log([told.directory / "log.csv"], other, num_shards=1, run=run_here)
    with pytest.raises(DatasetError, match="belongs to the dataset group 'default'"):
        told.learning("--learn", other)
