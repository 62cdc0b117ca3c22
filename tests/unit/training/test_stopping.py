import math

from raysys.training.stopping import Patience


def test_patience_runs_out_after_as_many_epochs_without_a_better_value():
    patience = Patience(2, [0.1, 0.3, 0.2])
    assert not patience.is_exhausted
    patience.add(0.3)  # equal is not better
    assert patience.is_exhausted
    assert (patience.best, patience.best_epoch) == (0.3, 1)


def test_a_better_value_starts_the_count_again():
    patience = Patience(2, [0.1, 0.05])
    assert patience.add(0.2)
    assert not patience.add(0.1)
    assert not patience.is_exhausted


def test_nothing_is_exhausted_before_the_first_epoch():
    assert not Patience(1).is_exhausted


def test_nan_is_worse_than_every_number():
    patience = Patience(5)
    assert patience.add(math.nan)  # the first is the best so far, whatever it is
    assert patience.add(-3.0)
    assert not patience.add(math.nan)
    assert patience.best == -3.0
