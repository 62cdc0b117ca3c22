import pytest
import torch

from raysys.errors import TrainingError
from raysys.training.checkpoint import Checkpoint


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
