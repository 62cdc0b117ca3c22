"""What clients sent and put becomes part of a dataset, every event once.

How far a dataset has it stands in the dataset's manifest, and one rename replaces that together
with the rows. So whoever is killed, at whichever step, has changed nothing or all of it, and the
next one begins where the rows end. Where the database cannot be the one that the manifest tells of,
or lost its newest events since, all of it is read again: events that the dataset has count as
duplicates then, so that none is missing and none is there twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from raysys import storage
from raysys.errors import DatasetError
from raysys.logs.call import RunCalls
from raysys.logs.event_export import write_interactions
from raysys.logs.event_news import EventNews
from raysys.logs.importing import EventRange, import_log
from raysys.logs.manifest import DatasetManifest, EventsUpTo, ImportMode
from raysys.logs.progress import OnProgress
from raysys.logs.publish import check_destination
from raysys.logs.put_export import ITEMS_FILE, USERS_FILE, write_items, write_users
from raysys.state.store import StateStore


def import_events(
    store: StateStore,
    dataset: Path,
    *,
    run: RunCalls,
    num_shards: int | None = None,
    on_progress: OnProgress | None = None,
) -> DatasetManifest | None:
    """Add to a dataset what its dataset group's clients sent and put since the last time.

    Where there is no dataset yet, it is made. Users who were put travel along with events and
    items; they alone are no news.

    Args:
        num_shards, on_progress, run: see `import_log`.

    Returns:
        The dataset's new manifest; None: there was nothing new.

    Raises:
        DatasetError: `dataset` is something else, of another dataset group, was changed meanwhile,
            or cannot be written.
        NothingUsableError: there is no dataset yet and no event to begin one with.
        StateError: the database cannot be used.
    """
    dataset, log = dataset.absolute(), store.log
    news = EventNews.of(store, check_destination(dataset, log.dataset_group))
    if not news:
        return None
    end = log.end()
    received_at_us = log.received_at_us(end.event_num)
    up_to = EventsUpTo(
        # Where it was removed just now, another one may get its number: then all is read again.
        event_num=0 if received_at_us is None else end.event_num,
        received_at_us=received_at_us,
        delta_version=news.delta_version,
    )
    with _staging(dataset) as directory:
        # Names of logs stay in a dataset's manifest, so this one tells what was in it.
        name = f"events-{news.after.event_num + 1}-{end.event_num}.parquet"
        write_interactions(log, end, directory / name, after=news.after.event_num)
        if news.items:
            write_items(news.items, directory / ITEMS_FILE)
        users = chain.from_iterable(log.users())
        has_users = bool(write_users(users, directory / USERS_FILE))
        manifest = import_log(
            [directory / name],
            dataset,
            items=directory / ITEMS_FILE if news.items else None,
            users=directory / USERS_FILE if has_users else None,
            mode=ImportMode.INCREMENTAL,
            num_shards=num_shards,
            dataset_group=log.dataset_group,
            events=EventRange(news.known, up_to),
            on_progress=on_progress,
            run=run,
        )
    # Last: what may be removed there is published here.
    store.take_over(up_to.event_num)
    return manifest


@contextmanager
def _staging(dataset: Path) -> Iterator[Path]:
    """Give a directory beside the dataset, since every node reads from there; gone afterwards."""
    directory = None
    try:
        directory = storage.staging_directory(dataset.with_name(f"{dataset.name}-events"))
        yield directory
    except OSError as error:
        raise DatasetError(
            f"Events could not be written beside {dataset}, so nothing was added: {error}. If the "
            f"disk is full, make room and run it again."
        ) from error
    finally:
        if directory is not None:
            storage.remove_tree(directory)
