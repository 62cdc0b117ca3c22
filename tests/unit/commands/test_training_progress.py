"""The bar of a training moves within epochs and says how good the last one was."""

from raysys.commands.training_progress import TrainingProgress
from raysys.training.checkpoint import EpochResult, StepResult


def test_a_bar_moves_within_epochs_and_keeps_the_last_validation_in_sight() -> None:
    shown: list[tuple[float, float | None, str]] = []

    def advance(done: float, total: float | None = None, note: str = "") -> None:
        shown.append((done, total, note))

    progress = TrainingProgress(advance, 4, "ndcg_at_10", None)
    progress.on_step(StepResult(1, 0.5, 3.25, 900.4, 0.1))
    progress.on_epoch(EpochResult(1, 3.0, {"ndcg_at_10": 0.125, "mrr_at_10": 0.5}, 1e3, 3.0, 0.1))
    progress.on_step(StepResult(2, 0.25, 2.5, 2000.0, 0.1))
    assert shown == [
        (0, 4, "workers start"),
        (0.5, 4, "loss 3.250, 900/s"),
        (1, 4, "loss 3.000, ndcg_at_10 0.1250, 1,000/s"),
        (1.25, 4, "loss 2.500, ndcg_at_10 0.1250, 2,000/s"),
    ]
    progress.on_refit(0.75)
    assert shown[-1] == (3, 4, "refit on validation too, ndcg_at_10 0.1250")
