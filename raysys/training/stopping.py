"""When to stop: a plain class over a list of numbers."""

import math
from collections.abc import Sequence


class Patience:
    """Counts epochs since the highest value.

    nan is worse than every number; an equal value is no improvement.
    """

    def __init__(self, patience: int, values: Sequence[float] = ()) -> None:
        self.patience = patience
        self.best = -math.inf
        self.best_epoch = -1
        self.num_epochs = 0
        for value in values:
            self.add(value)

    def add(self, value: float) -> bool:
        """Take the next epoch's value; return whether it is the best so far."""
        is_best = self.best_epoch < 0 or value > self.best
        if is_best:
            self.best = -math.inf if math.isnan(value) else value
            self.best_epoch = self.num_epochs
        self.num_epochs += 1
        return is_best

    @property
    def is_exhausted(self) -> bool:
        """Whether `patience` epochs in a row were no better than one before them."""
        return self.num_epochs - 1 - self.best_epoch >= self.patience
