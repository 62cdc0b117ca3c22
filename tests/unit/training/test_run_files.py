from pathlib import Path

import pytest

from raysys.errors import DatasetError, TrainingError
from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.place import Place
from raysys.training.run_files import CHECKPOINTS, Progress, RunFiles

FIRST = EpochResult(1, 2.5, {"ndcg_at_10": 0.1}, 1000.0, 3.0, 0.1)
SECOND = EpochResult(2, 2.0, {"ndcg_at_10": 0.2}, 1000.0, 3.0, 0.05)
STEP = StepResult(3, 0.25, 1.9, 900.0, 0.04)


@pytest.fixture
def files(tmp_path):
    files = RunFiles(Place.of(tmp_path / "run"))
    files.claim({"seed": 1, "num_workers": [1, 2]})
    return files


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("w")
    return tmp_path / "model"


def test_how_far_the_run_is_comes_back(files):
    assert files.progress() == Progress([], None)
    files.tell(Progress([FIRST, SECOND], STEP))
    assert files.progress() == Progress([FIRST, SECOND], STEP)
    files.tell(Progress([FIRST, SECOND], None))
    assert files.progress().step is None


def test_a_place_of_another_training_is_refused(files):
    files.claim({"seed": 1, "num_workers": [1, 2]})
    with pytest.raises(TrainingError, match="other settings or other data"):
        files.claim({"seed": 2, "num_workers": [1, 2]})


def test_a_run_that_is_taken_up_forgets_how_it_ended(files, model, tmp_path):
    files.fail(TrainingError("no"))
    files.finish(model, [FIRST])
    files.claim({"seed": 1, "num_workers": [1, 2]})
    assert files.failure() is None
    with pytest.raises(TrainingError, match="ended without a model"):
        files.fetch_model(tmp_path)


def test_an_error_keeps_its_class_and_words_on_its_way_to_the_driver(files):
    assert files.failure() is None
    files.fail(DatasetError("The shard is torn."))
    error = files.failure()
    assert type(error) is DatasetError
    assert str(error) == "The shard is torn."


def test_the_model_and_what_led_to_it_are_there_once_the_run_is_finished(files, model, tmp_path):
    files.finish(model, [FIRST, SECOND])
    (tmp_path / "fetched").mkdir()
    assert files.fetch_model(tmp_path / "fetched") == [FIRST, SECOND]
    assert (tmp_path / "fetched" / "weights").read_text() == "w"


def test_what_is_removed_leaves_what_is_not_of_the_run(files, model, tmp_path):
    files.finish(model, [FIRST])
    files.place.below(CHECKPOINTS).write_text("checkpoint", "")
    files.place.write_text("mine", "")
    files.remove()
    assert [path.name for path in Path(tmp_path / "run").iterdir()] == ["mine"]
