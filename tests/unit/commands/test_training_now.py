"""What surrounds a training: where its checkpoints are, what leaves with them, what is shown."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysys.commands import building
from raysys.commands.console import Console
from raysys.config import PipelineConfig
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.event_types import NO_EVENT_TYPES
from raysys.training.checkpoint import EpochResult
from raysys.training.place import Place
from raysys.training.run_files import CHECKPOINTS

MATERIAL: Any = SimpleNamespace(
    dataset=SimpleNamespace(path=Path("dataset"), schema=lambda kind: None),
    event_types=NO_EVENT_TYPES,
    context=NO_CONTEXT,
)


@pytest.fixture
def storages(monkeypatch: pytest.MonkeyPatch) -> list[str | Path]:
    """The storage of each training; a training leaves in it what Ray Train does."""
    storages: list[str | Path] = []

    def train(*_: Path | PipelineConfig, storage: Path | str, on_epoch: Any, **__: Any) -> None:
        storages.append(storage)
        Place.of(storage).below(CHECKPOINTS).write_text("checkpoint", "")
        on_epoch(EpochResult(1, 2.0, {"ndcg_at_10": 0.5}, 10.0, 1.0, 0.1))
        if len(storages) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(building, "train_on_ray", train)
    return storages


def run(draft: Path, **given: Any) -> None:
    building.training_now(PipelineConfig(), Console(as_json=True), **given)(MATERIAL, draft)


def test_checkpoints_lie_in_the_draft_and_leave_it_before_it_is_published(
    storages: list[str | Path], tmp_path: Path
) -> None:
    run(tmp_path)
    assert Path(storages[0]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_a_training_that_was_stopped_stay_where_they_were_asked_for(
    storages: list[str | Path], tmp_path: Path
) -> None:
    kept, draft = tmp_path / "kept", tmp_path / "draft"
    kept.mkdir()
    draft.mkdir()
    (kept / "mine").touch()
    run(draft, checkpoints=f"file://{kept}")
    assert [path.name for path in kept.iterdir()] == ["mine"]
    with pytest.raises(KeyboardInterrupt):
        run(draft, checkpoints=f"file://{kept}")
    assert {path.name for path in kept.iterdir()} == {"mine", CHECKPOINTS}
    assert list(draft.iterdir()) == []


def test_tensorboard_hears_of_the_epochs(storages: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "draft").mkdir()
    run(tmp_path / "draft", tensorboard=tmp_path / "log")
    [file] = (tmp_path / "log").iterdir()
    assert b"epoch/ndcg_at_10" in file.read_bytes()
    assert storages
