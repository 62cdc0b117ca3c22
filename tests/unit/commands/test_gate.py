"""An update is judged on what came last before anything is published. Training is stood in for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raysys.commands import update as update_command
from raysys.commands.building import WriteModel
from raysys.commands.console import Console
from raysys.commands.going_on import Update, open_update
from raysys.commands.material import Material
from raysys.commands.update import update_and_report
from raysys.config import (
    EvaluationConfig,
    GateConfig,
    GruConfig,
    IndexConfig,
    LeaveLastOut,
    PipelineConfig,
    TimeSplit,
    TrainingConfig,
)
from raysys.dataset.splits import SplitBlocks
from raysys.models.weights import load_model, save_model
from raysys.release import MODEL_DIRECTORY, Release, list_releases, open_release
from raysys.training.warm_start import WarmStart
from tests.unit.commands.builders import release_trained, trained_in_this_process
from tests.unit.dataset.builders import Row, write_dataset

NUM_ITEMS, NUM_USERS, NUM_OLD, NUM_NEW = 40, 40, 8, 10
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, history_length=8, dropout=0.0),
    training=TrainingConfig(learning_rate=0.05, batch_size=8, max_epochs=12),
    evaluation=EvaluationConfig(ks=(10,)),
    index=IndexConfig(num_partitions=1),
)


def rows(num_users: int, length: int) -> list[Row]:
    """Item n is followed by item n + 1, over and over; all users do their first step first."""
    return [
        (f"u{user:02}", f"i{(user + step) % NUM_ITEMS:02}", 1_000 * step + user)
        for user in range(num_users)
        for step in range(length)
    ]


def in_order(found: set[Row]) -> list[Row]:
    return sorted(found, key=lambda row: (row[0], row[2]))


def scrambled(weight: torch.Tensor) -> torch.Tensor:
    return weight.flatten().roll(7).view_as(weight)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory = tmp_path_factory.mktemp("champion")
    dataset = write_dataset(directory / "old", [in_order({*rows(NUM_USERS, NUM_OLD)})])
    return release_trained(dataset, directory / "releases", CONFIG)


def opened(champion: Release, directory: Path, num_active: int = NUM_USERS) -> Update:
    grown = in_order({*rows(NUM_USERS, NUM_OLD), *rows(num_active, NUM_OLD + NUM_NEW)})
    return open_update(champion, write_dataset(directory / "new", [grown]))


def learning(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]
) -> list[PipelineConfig]:
    """Let training change every weight; return the list of the settings that it is called with."""
    called: list[PipelineConfig] = []

    def training(config: PipelineConfig, _: Console, *, warm_start: WarmStart) -> WriteModel:
        def write(material: Material, draft: Path) -> None:
            called.append(config)
            assert warm_start.model == draft / MODEL_DIRECTORY
            vocabulary = material.items.hash
            model = load_model(draft / MODEL_DIRECTORY, vocabulary=vocabulary)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(change(weight))
            num_users = len(material.users)
            directory = draft / MODEL_DIRECTORY
            save_model(model, directory, num_users=num_users, vocabulary=vocabulary)

        return write

    monkeypatch.setattr(update_command, "training_now", training)
    return called


def updated(update: Update, releases: Path, gate: GateConfig | None) -> dict[str, Any]:
    return update_and_report(update, releases, Console(as_json=True), epochs=2, gate=gate)


def decisions(releases: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (releases / "decisions").glob("*.json")]


def test_who_passes_is_published_and_has_learnt_the_window_too(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = learning(monkeypatch, lambda weight: weight)
    result = updated(opened(champion, tmp_path), tmp_path / "releases", GateConfig())
    assert result["updated"]
    judged, published = called
    assert isinstance(judged.split, TimeSplit)
    assert isinstance(published.split, LeaveLastOut)
    assert published.training.max_epochs == 2
    made = open_release(tmp_path / "releases")
    assert made.manifest.lineage["gate"] == result["gate"]
    [decided] = decisions(tmp_path / "releases")
    assert result["gate"].items() <= decided.items()
    assert (decided["release"], decided["promoted"], decided["users"]) == (champion.name, True, 40)
    assert result["gate"]["champion"] == result["gate"]["challenger"] > 0.3  # it had learnt that


def test_who_has_unlearnt_is_not_published_and_the_reason_is_kept(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = learning(monkeypatch, scrambled)
    result = updated(opened(champion, tmp_path), tmp_path / "releases", GateConfig())
    assert (result["updated"], result["name"]) == (False, champion.name)
    assert len(called) == 1
    assert list_releases(tmp_path / "releases") == []
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["decisions"]
    [decided] = decisions(tmp_path / "releases")
    assert not decided["promoted"]
    assert decided["challenger"] < decided["champion"]
    assert "of the champion's" in decided["reason"]


def test_who_was_trained_anew_passes_the_same_gate(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[PipelineConfig] = []

    def training(config: PipelineConfig, _: Console) -> WriteModel:
        called.append(config)
        return trained_in_this_process(config)

    monkeypatch.setattr(update_command, "training_now", training)
    update = opened(champion, tmp_path)
    releases, console = tmp_path / "releases", Console(as_json=True)
    result = update_and_report(update, releases, console, epochs=2, gate=GateConfig(), is_anew=True)
    assert [config.split.kind for config in called] == ["time", "leave_last_out"]
    assert result["updated"]
    assert result["epochs"] == CONFIG.training.max_epochs
    assert result["gate"]["challenger"] != result["gate"]["champion"]
    lineage = open_release(releases).manifest.lineage
    assert (lineage["updated_from"], lineage["training_mode"]) == (champion.name, "FULL")


def test_without_a_gate_whatever_was_learnt_is_published(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = learning(monkeypatch, scrambled)
    result = updated(opened(champion, tmp_path), tmp_path / "releases", None)
    assert result["updated"]
    assert "gate" not in result
    assert len(called) == 1
    assert decisions(tmp_path / "releases") == []


def test_few_users_keep_the_champion(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning(monkeypatch, lambda weight: weight)
    update = opened(champion, tmp_path, num_active=7)
    result = updated(update, tmp_path / "releases", GateConfig())
    assert not result["updated"]
    assert result["gate"]["users"] == 7
    assert "fewer than 30 users" in result["gate"]["reason"]


def test_where_nothing_is_left_to_be_learnt_before_the_window_the_champion_stays(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = learning(monkeypatch, lambda weight: weight)
    late = ("u00", "i39", 1_000 * NUM_OLD)
    grown = in_order({*rows(NUM_USERS, NUM_OLD), late})
    update = open_update(champion, write_dataset(tmp_path / "new", [grown]))
    result = updated(update, tmp_path / "releases", GateConfig())
    assert (result["updated"], called) == (False, [])
    assert "too little is new" in result["gate"]["reason"]
    assert decisions(tmp_path / "releases")[0]["reason"] == result["gate"]["reason"]


@pytest.mark.parametrize("window", [0.1, 0.5])
def test_the_window_is_a_share_of_what_is_new_and_all_else_is_learnt(
    champion: Release, tmp_path: Path, window: float
) -> None:
    update = opened(champion, tmp_path)
    config = update_command.holding_back_the_window(
        GateConfig(window=window), CONFIG, update.material, update.after_us
    )
    assert config is not None
    parts = SplitBlocks.of(update.material.histories, config.split, has_validation=False)
    num_held = sum(part.test.relevant.num_interactions for part in parts)
    num_learnt = sum(part.train.num_interactions for part in parts)
    assert num_held == pytest.approx(window * NUM_USERS * NUM_NEW, abs=1)
    assert num_held + num_learnt == NUM_USERS * (NUM_OLD + NUM_NEW)
