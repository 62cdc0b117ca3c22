import numpy as np

from raysys.dataset.popularity import popularity_counts
from tests.unit.histories import histories_of


def test_popularity_counts_interactions_and_not_the_unknown_row():
    counts = popularity_counts([histories_of([[1, 1, 0], [3, 1]])], 4)
    assert counts.tolist() == [0, 3, 0, 1, 0]
    assert counts.dtype == np.int64
