"""`raysys train` tells those who wait what they wait for."""

import pytest
import ray

from raysys.commands.console import Console
from raysys.commands.train import _num_workers, _say_if_busy
from raysys.config import TrainingConfig
from raysys.errors import ConfigError


@pytest.mark.parametrize("num_workers", [2, (2, 8)])
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
    num_workers: int | tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    _say_if_busy(TrainingConfig(num_workers=num_workers, cpus_per_worker=1.5), Console())
    shown = capsys.readouterr().out
    assert shown.startswith(said)
    assert bool(shown) == bool(said)


@pytest.mark.parametrize(("text", "expected"), [("4", 4), ("2-4", (2, 4)), ("3-3", (3, 3))])
def test_workers_are_a_number_or_the_fewest_and_the_most(
    text: str, expected: int | tuple[int, int]
) -> None:
    assert _num_workers(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "4-2", "0-2", "two", "1-2-3", "1.5", ""])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--workers takes .* but got {text!r}"):
        _num_workers(text)
