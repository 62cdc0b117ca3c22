import pytest
import torch

from raysys.errors import TrainingError
from raysys.training.checkpoint import Checkpoint, EpochResult


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingError, match=r"cannot go on from .*checkpoint\.pt"):
        Checkpoint.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        Checkpoint.load(path)


def test_a_pickled_object_in_a_checkpoint_is_never_built(tmp_path):
    class Opened:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save({"weights": Opened()}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError):
        Checkpoint.load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "opened").exists()


def test_a_copy_stays_as_it_was_while_the_training_goes_on(tmp_path):
    weight, moment = torch.zeros(3), torch.zeros(3)
    optimizer = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": moment}},
        "groups": [{"lr": 1}],
    }
    results = [EpochResult(1, 2.0, {}, 10.0, 1.0, 0.1)]
    copy = Checkpoint({"w": weight}, optimizer, {"w": weight}, results).copy()
    for tensor in (weight, moment, optimizer["state"][0]["step"]):
        tensor += 5
    optimizer["groups"][0]["lr"] = 2
    results.append(results[0])
    copy.save(tmp_path / "checkpoint.pt")
    read = Checkpoint.load(tmp_path / "checkpoint.pt")
    assert read.weights["w"].tolist() == read.best_weights["w"].tolist() == [0, 0, 0]
    assert read.optimizer["state"][0]["exp_avg"].tolist() == [0, 0, 0]
    assert read.optimizer["state"][0]["step"] == 1
    assert read.optimizer["groups"] == [{"lr": 1}]
    assert len(read.results) == 1
