"""Time is cut into pieces that people use, and nothing falls between them."""

import numpy as np
import pyarrow as pa
import pytest

from raysys.dataset.activity import MOST_PIECES, activity
from raysys.dataset.statistics import Statistics
from raysys.dataset.time_bins import DAY_US, HOUR_US, MINUTE_US, TimeBins
from tests.unit.logs.manifests import empty_manifest

MANIFEST = empty_manifest()


def statistics(bins, per_bin):
    found = Statistics(MANIFEST, bins, 0)
    found.finish()
    found.shard.per_bin = np.asarray(per_bin)
    found.shard.rows = int(found.shard.per_bin.sum())
    return found


@pytest.mark.parametrize(
    ("width_us", "num", "piece"),
    [
        (MINUTE_US, 1, "minute"),
        (MINUTE_US, 131, "5 minutes"),
        (MINUTE_US, 20_000, "3 hours"),
        (HOUR_US, 130, "hour"),
        (HOUR_US, 20_000, "7 days"),
        (DAY_US, 2_000, "28 days"),
        (DAY_US, 47_482, "366 days"),
    ],
)
def test_pieces_have_a_usual_length_and_hold_everything(width_us, num, piece):
    found = activity(statistics(TimeBins(0, width_us, num), np.arange(num)))
    assert found.piece == piece
    assert found.interactions.sum() == num * (num - 1) // 2
    assert len(found.starts) == len(found.interactions) <= MOST_PIECES
    assert (found.end - found.starts[0]).total_seconds() * 1e6 == width_us * num


def test_stray_times_are_left_out_only_where_that_is_asked_for():
    per_bin = np.zeros(1_000, np.int64)
    per_bin[[0, -1]], per_bin[600:610] = 1, 1_000
    found = statistics(TimeBins(0, DAY_US, 1_000), per_bin)
    assert activity(found).interactions.sum() == 10_002
    near = activity(found, without_stray_times=True)
    assert (near.piece, near.interactions.tolist()) == ("day", [1_000] * 10)
    assert near.starts[0].isoformat() == "1971-08-24T00:00:00+00:00"


def test_new_users_and_items_are_counted_in_the_piece_of_their_first_interaction():
    found = statistics(TimeBins(0, DAY_US, 3), [5, 0, 2])
    found.shard.new_users_per_bin = np.array([2, 0, 1])
    found.items = pa.table({"first_us": [0, 2 * DAY_US]})
    found.new_items_per_bin = found.bins.counts(found.items["first_us"].to_numpy())
    shown = activity(found).to_json()
    assert shown["new_users"] == [2, 0, 1]
    assert shown["new_items"] == [1, 0, 1]
