"""What training tells Ray's metrics after each epoch: see docs/serving.md, "Metrics"."""

from functools import cache

from ray.util.metrics import Gauge

from raysys.training.checkpoint import EpochResult


def report_epoch(result: EpochResult) -> None:
    """Set the gauges of this process. To be called by one worker of a run.

    They are offered to Prometheus while the worker lives, and some 20 s longer.
    """
    loss, validation = _gauges()
    loss.set(result.loss)
    for name, value in result.metrics.items():
        validation.set(value, {"metric": name})


@cache
def _gauges() -> tuple[Gauge, Gauge]:
    return (
        Gauge("raysys_training_loss", "Of the newest epoch, in nats, dropout on."),
        Gauge("raysys_validation_metric", "Of the newest epoch.", ("metric",)),
    )
