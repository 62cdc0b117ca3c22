"""Which trials of a search are stopped early: ASHA, through Ray Tune's door to it."""

from typing import Any, cast

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from raysys.training.proposals import DEFAULTS, VALUE
from raysys.training.search_files import SearchFiles, Trial

EPOCH = "epoch"
"""What a trial reports to Ray Tune beside its value: the epochs learnt so far."""
_GRACE_SHARE = 5  # a first comparison after a fifth of the epochs; sooner it says little
_REDUCTION = 3  # of the trials that come to a rung, the best third goes on to the next


def rungs(max_epochs: int) -> set[int]:
    """Return the epochs after which trials are compared; those that fall behind end there."""
    epochs = {_grace(max_epochs) * _REDUCTION**power for power in range(max_epochs)}
    return {epoch for epoch in epochs if epoch < max_epochs}


class Halving(ASHAScheduler):
    """ASHA that knows the epochs of trials from before, and never stops the defaults.

    What it decides it writes down for the trial, whose workers then end their run by themselves.
    Tune would end the trial's process only: Ray Train's controller dies with it and leaves behind
    the placement group, and with it the CPUs, until the whole job ends.
    """

    def __init__(self, files: SearchFiles, max_epochs: int) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=VALUE,
            mode="max",
            max_t=max_epochs,
            grace_period=_grace(max_epochs),
            reduction_factor=_REDUCTION,
        )
        self._files = files
        self._rungs = rungs(max_epochs)
        self._before = {trial.number: trial for trial in files.trials()}
        for trial in self._before.values():
            if trial.status != "open":
                self.on_trial_add(None, cast(RayTrial, _Ended(trial.number)))

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        super().on_trial_add(tune_controller, trial)
        if (before := self._before.get(trial.config["number"])) is not None:
            self._repeat(tune_controller, trial, before)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        epoch, number = result.get(EPOCH), trial.config["number"]
        if epoch in self._rungs:
            is_over = decision == TrialScheduler.STOP and number != DEFAULTS
            self._files.trial(number).judge(epoch, is_over=is_over)
        return str(TrialScheduler.CONTINUE)

    def _repeat(self, tune_controller: Any, trial: RayTrial, before: Trial) -> None:
        verdicts = self._files.trial(before.number).verdicts()
        for epoch in range(1, len(before.values) + 1):
            result = {EPOCH: epoch, VALUE: max(before.values[:epoch])}
            if before.status == "open" and str(epoch) not in verdicts:
                self.on_trial_result(tune_controller, trial, result)  # cut off before its verdict
            else:
                super().on_trial_result(tune_controller, trial, result)


def _grace(max_epochs: int) -> int:
    return max(1, max_epochs // _GRACE_SHARE)


class _Ended:
    """A trial of an earlier run, as far as ASHA looks at it."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"before-{number}"
        self.config = {"number": number}
