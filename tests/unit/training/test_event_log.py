"""What a training leaves for TensorBoard, read back from its file."""

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.event_log import EventLog


def scalars(directory: Path) -> dict[tuple[str, int], float]:
    """Read records of: length (uint64), its checksum (4 bytes), content, its checksum."""
    [file] = directory.glob("events.out.tfevents.*")
    content, found = file.read_bytes(), {}
    while content:
        [length] = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        content = content[16 + length :]
    return found


def test_epochs_and_what_is_told_within_them_are_values_by_name_and_place(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log") as log:
        log.on_step(StepResult(1, 0.25, 3.0, 900.0, 0.04))
        log.on_epoch(EpochResult(1, 2.5, {"ndcg_at_10": 0.125}, 1000.0, 3.0, 0.03))
        log.on_step(StepResult(2, 0.5, 2.0, 800.0, 0.02))
    assert scalars(tmp_path / "log") == {
        ("step/loss", 250): 3.0,
        ("step/learning_rate", 250): pytest.approx(0.04),
        ("step/examples_per_s", 250): 900.0,
        ("epoch/loss", 1): 2.5,
        ("epoch/learning_rate", 1): pytest.approx(0.03),
        ("epoch/examples_per_s", 1): 1000.0,
        ("epoch/ndcg_at_10", 1): 0.125,
        ("step/loss", 1500): 2.0,
        ("step/learning_rate", 1500): pytest.approx(0.02),
        ("step/examples_per_s", 1500): 800.0,
    }
