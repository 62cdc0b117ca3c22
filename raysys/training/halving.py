"""Which trials of a search are stopped early: ASHA, through Ray Tune's door to it."""

from typing import Any, cast

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from raysys.training.proposals import DEFAULTS, VALUE
from raysys.training.search_files import Trial

EPOCH = "epoch"
"""What a trial reports to Ray Tune beside its value: the epochs learnt so far."""
_GRACE_EPOCHS = 1
_REDUCTION = 3  # of the trials that come to a rung, the best third goes on to the next


class Halving(ASHAScheduler):
    """ASHA that knows the epochs of trials from before, and never stops the defaults."""

    def __init__(self, trials: list[Trial], max_epochs: int) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=VALUE,
            mode="max",
            max_t=max_epochs,
            grace_period=min(_GRACE_EPOCHS, max_epochs),
            reduction_factor=_REDUCTION,
        )
        self._values_before = {trial.number: trial.values for trial in trials}
        for trial in trials:
            if trial.status != "open":
                self.on_trial_add(None, cast(RayTrial, _Ended(trial.number)))

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        super().on_trial_add(tune_controller, trial)
        values = self._values_before.get(trial.config["number"], [])
        for epoch in range(1, len(values) + 1):
            best = max(values[:epoch])
            super().on_trial_result(tune_controller, trial, {EPOCH: epoch, VALUE: best})

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        is_last = result.get(EPOCH, 0) >= self._max_t
        if trial.config["number"] == DEFAULTS and not is_last:
            return str(TrialScheduler.CONTINUE)
        return decision


class _Ended:
    """A trial of an earlier run, as far as ASHA looks at it."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"before-{number}"
        self.config = {"number": number}
