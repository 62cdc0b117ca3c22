"""From a dataset's shards to one worker's users: read once, by Ray Data, into files of its node.

No user passes any other machine, and no history the memory of this one: blocks of users are read
ahead, written behind each other, and mapped. Where memory is enough the files stay in it.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ray.data

from raysys.config import FeedbackConfig
from raysys.dataset.context import NO_CONTEXT, ContextEncoder
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.spool import Spool
from raysys.dataset.vocabulary import Vocabulary
from raysys.training.shares import ReadShares, shares_of


def load_users(
    shards: Sequence[Path],
    items: Path,
    feedback: FeedbackConfig,
    *,
    event_types: EventTypes = NO_EVENT_TYPES,
    context: ContextEncoder = NO_CONTEXT,
    rank: int = 0,
    num_workers: int = 1,
    num_readers: int = 1,
) -> Histories:
    """Return the users of one worker, mapped, in the same order on every run.

    Args:
        shards: the files of interactions; they mean the same on every node.
        items: the saved item vocabulary.
        feedback: says what each interaction weighs.
        event_types: gives the numbers of their types; none: they are not told apart.
        context: gives the codes of their contexts, if it has columns.
        num_readers: shares that are read at a time.

    Raises:
        DatasetError: a shard or the vocabulary cannot be read.
    """
    of_ray = ray.data.DataContext.get_current()
    of_ray.enable_progress_bars = False
    of_ray.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    shares = shares_of(rank, num_workers, len(shards))
    places = [{"place": place} for place in range(len(shares))]
    # Reading asks for no CPU: the workers may have them all, and learn only when it is over.
    tables = (
        ray.data.from_items(places, override_num_blocks=len(places))
        .map_batches(
            ReadShares(shares, list(shards), items, feedback, event_types, context),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0,
            concurrency=num_readers,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )
    with tempfile.TemporaryDirectory(prefix="raysys-users-") as work:
        spool = Spool(Path(work), Vocabulary.open(items).hash)
        for table in tables:
            spool.append(Histories.from_table(table))
        return spool.histories()
