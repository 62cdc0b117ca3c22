"""`raysys train` tells those who wait what they wait for."""

import pytest
import ray

from raysys.commands.console import Console
from raysys.commands.train import _say_if_busy
from raysys.config import TrainingConfig


@pytest.mark.parametrize(
    ("free", "said"),
    [
        ({"CPU": 3.0}, ""),
        ({"CPU": 4.0}, ""),
        ({"CPU": 2.5}, "  The workers need 3 CPUs and 2.5 are free now"),
        ({"memory": 1.0}, "  The workers need 3 CPUs and 0 are free now"),
    ],
)
def test_a_training_that_waits_for_others_says_so(
    free: dict[str, float],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    _say_if_busy(TrainingConfig(num_workers=2, cpus_per_worker=1.5), Console())
    shown = capsys.readouterr().out
    assert shown.startswith(said)
    assert bool(shown) == bool(said)
