"""What the driver hears of a run, and how often a worker tells."""

import threading
from dataclasses import replace

import pytest

from raysys.training.checkpoint import EpochResult, StepResult
from raysys.training.following import Teller, followed
from raysys.training.place import Place
from raysys.training.run_files import Progress, RunFiles

FIRST = EpochResult(1, 2.5, {"ndcg_at_10": 0.1}, 1000.0, 3.0, 0.1)
SECOND = EpochResult(2, 2.0, {"ndcg_at_10": 0.2}, 1000.0, 3.0, 0.05)
STEP = StepResult(1, 0.25, 1.9, 900.0, 0.04)


@pytest.fixture
def files(tmp_path):
    return RunFiles(Place.of(tmp_path))


def nothing(*_):
    pass


def test_every_epoch_is_heard_once_before_the_block_is_left(files):
    heard, teller = [], Teller(files, [])
    with followed(files, heard.append, nothing, nothing):
        teller.on_epoch([FIRST])
        teller.on_epoch([FIRST, SECOND])
    assert heard == [FIRST, SECOND]


def test_an_epoch_that_is_learnt_again_is_heard_again(files):
    again = replace(SECOND, seconds=4.0)
    heard, is_heard = [], threading.Event()

    def hear(result):
        heard.append(result)
        if result == SECOND:
            is_heard.set()

    with followed(files, hear, nothing, nothing):
        files.tell(Progress([FIRST, SECOND], None))
        assert is_heard.wait(60)
        Teller(files, [FIRST]).on_epoch([FIRST, again])
    assert heard == [FIRST, SECOND, again]


def test_what_a_follower_raises_stops_the_run_and_is_raised(files):
    stopped = []

    def refuse(result):
        raise KeyError("enough")

    with (
        pytest.raises(KeyError, match="enough"),
        followed(files, refuse, nothing, lambda: stopped.append(True)),
    ):
        files.tell(Progress([FIRST], None))
    assert stopped == [True]


def test_the_newest_step_is_heard(files):
    heard = []
    with followed(files, nothing, heard.append, nothing):
        files.tell(Progress([], STEP))
    assert heard == [STEP]


class Clock:
    """A time that passes when it is told to, and while files are written."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.mark.parametrize(("took_s", "wanted"), [(0.0, [1, 2, 3]), (0.1, [1, 6, 11])])
def test_steps_are_told_once_a_second_or_less_often_where_telling_is_slow(took_s, wanted):
    clock, told = Clock(), []

    class SlowFiles:
        def tell(self, progress):
            told.append((clock.seconds, progress))
            clock.seconds += took_s

    teller = Teller(SlowFiles(), [FIRST], now=clock)
    for tenth in range(150):
        clock.seconds = max(clock.seconds, tenth / 10)
        teller.on_step(replace(STEP, share=tenth / 150))
    # A 0.1 s write may take 2 % of the time: the next comes 5 s after it.
    assert [round(seconds) for seconds, _ in told][:3] == wanted
    assert told[0][1] == Progress([FIRST], replace(STEP, share=10 / 150))
