"""Checkpoints are written beside the loop, one at a time; Ray Train is only listened to."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
import pytest
import ray.train
import torch

from raysys.training.checkpoint import Checkpoint, EpochResult
from raysys.training.checkpoints import Checkpoints

RESULT = EpochResult(3, 2.5, {"ndcg_at_10": 0.1}, 1000.0, 3.0, 0.1)


class Reports:
    """What was reported; Ray would call the functions that write from a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.calls: list[Any] = []
        self.storage = SimpleNamespace(
            storage_filesystem=pyarrow.fs.LocalFileSystem(),
            build_checkpoint_path_from_name=lambda name: f"{directory}/run/{name}",
        )

    def report(self, metrics: dict[str, Any], **more: Any) -> None:
        self.calls.append(SimpleNamespace(metrics=metrics, **more))

    def write(self, number: int) -> Path:
        call = self.calls[number]
        return Path(call.checkpoint_upload_fn(call.checkpoint, call.checkpoint_dir_name).path)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reports:
    reports = Reports(tmp_path)
    context = SimpleNamespace(get_storage=lambda: reports.storage)
    monkeypatch.setattr(ray.train, "report", reports.report)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    return reports


def worker(rank: int, *, others: int = 0) -> Any:
    """A worker; `others` is the sum of what all others say."""
    return SimpleNamespace(comm=SimpleNamespace(rank=rank), sum=lambda number: int(number) + others)


def checkpoint(weight: torch.Tensor) -> Checkpoint:
    return Checkpoint({"w": weight}, {}, {"w": weight}, [RESULT])


def test_what_is_written_is_how_it_stood_when_it_was_offered(reports: Reports) -> None:
    weight = torch.ones(2)
    Checkpoints(worker(0)).offer(checkpoint(weight), RESULT)
    weight += 1  # the next epoch has begun
    directory = reports.write(0)
    assert Checkpoint.load(directory / "training.pt").weights["w"].tolist() == [1, 1]
    [call] = reports.calls
    assert call.checkpoint_upload_mode is ray.train.CheckpointUploadMode.ASYNC
    assert call.metrics == {"epoch": 3, "loss": 2.5, "ndcg_at_10": 0.1}
    assert directory.name == call.checkpoint_dir_name
    assert not call.delete_local_checkpoint_after_upload


def test_while_one_is_written_no_other_is_begun(reports: Reports) -> None:
    checkpoints = Checkpoints(worker(0))
    for _ in range(3):
        checkpoints.offer(checkpoint(torch.ones(2)), RESULT)
    assert len(reports.calls) == 1
    reports.write(0)
    checkpoints.offer(checkpoint(torch.ones(2)), RESULT)
    assert len(reports.calls) == 2
    assert reports.write(1) != reports.write(0)


def test_a_write_that_fails_is_told_to_ray_and_holds_nobody_up(
    reports: Reports, tmp_path: Path
) -> None:
    (tmp_path / "run").touch()  # where a directory is to be
    checkpoints = Checkpoints(worker(0))
    checkpoints.offer(checkpoint(torch.ones(2)), RESULT)
    with pytest.raises(OSError, match="run"):
        reports.write(0)
    checkpoints.offer(checkpoint(torch.ones(2)), RESULT)
    assert len(reports.calls) == 2


def test_every_worker_reports_when_worker_0_does_and_only_then(reports: Reports) -> None:
    Checkpoints(worker(1, others=0)).offer(checkpoint(torch.ones(2)), RESULT)
    assert not reports.calls
    Checkpoints(worker(1, others=1)).offer(checkpoint(torch.ones(2)), RESULT)
    [call] = reports.calls
    assert not hasattr(call, "checkpoint")
