import pytest

from raysys.errors import DatasetError, TrainingError
from raysys.training.checkpoint import EpochResult
from raysys.training.run_files import RunFiles, followed

FIRST = EpochResult(1, 2.5, {"ndcg_at_10": 0.1}, 1000.0, 3.0, 0.1)
SECOND = EpochResult(2, 2.0, {"ndcg_at_10": 0.2}, 1000.0, 3.0, 0.1)


@pytest.fixture
def files(tmp_path):
    files = RunFiles(tmp_path / "run")
    files.claim({"seed": 1})
    return files


def test_what_happened_in_the_epochs_comes_back(files):
    assert files.progress() == []
    files.add_progress(FIRST)
    files.add_progress(SECOND)
    assert files.progress() == [FIRST, SECOND]


def test_a_line_that_is_being_written_is_not_read_yet(files):
    files.add_progress(FIRST)
    with (files.directory / "progress.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert files.progress() == [FIRST]


def test_a_directory_of_another_training_is_refused(files):
    files.claim({"seed": 1})
    with pytest.raises(TrainingError, match="other settings or other data"):
        files.claim({"seed": 2})


def test_a_run_that_is_taken_up_forgets_how_it_ended(files):
    files.fail(TrainingError("no"))
    files.finish([FIRST])
    files.claim({"seed": 1})
    assert files.failure() is None
    with pytest.raises(TrainingError, match="ended without a model"):
        files.results()


def test_an_error_keeps_its_class_and_words_on_its_way_to_the_driver(files):
    assert files.failure() is None
    files.fail(DatasetError("The shard is torn."))
    error = files.failure()
    assert type(error) is DatasetError
    assert str(error) == "The shard is torn."


def test_results_are_there_once_the_run_is_finished(files):
    files.finish([FIRST, SECOND])
    assert files.results() == [FIRST, SECOND]


def test_a_follower_hears_of_every_epoch_before_the_block_is_left(files):
    heard = []
    with followed(files, heard.append, lambda: None):
        files.add_progress(FIRST)
        files.add_progress(SECOND)
    assert heard == [FIRST, SECOND]


def test_what_a_follower_raises_stops_the_run_and_is_raised(files):
    stopped = []

    def refuse(result):
        raise KeyError("enough")

    with (
        pytest.raises(KeyError, match="enough"),
        followed(files, refuse, lambda: stopped.append(True)),
    ):
        files.add_progress(FIRST)
    assert stopped == [True]
