"""`raysys forget`: take users out of a dataset and of the database that is served with, and say
which releases still hold them."""

import argparse
import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.console import Console
from raysys.commands.submission import check_output
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.dataset.dataset import open_dataset
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, DatasetError, ReleaseError, SourceError
from raysys.logs.calls import run_calls
from raysys.logs.catalogue import read_catalogue
from raysys.logs.forgetting import Receipt, forget_users
from raysys.logs.formats import TABLE_FORMATS
from raysys.logs.header import USER_ID
from raysys.logs.layout import undeclared
from raysys.logs.schema import Kind
from raysys.logs.source import local_source
from raysys.release import HISTORIES, MANIFEST_NAME, USER_VOCABULARY, list_releases, open_release
from raysys.state.store import StateStore

_ONE_A_LINE = (".txt", ".lst")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Forget and report; the JSON line is the receipt."""
    started = time.perf_counter()
    if arguments.dataset is None and arguments.database is None:
        raise ConfigError(
            "Neither a dataset nor a --database was named, so nobody was forgotten. Name what "
            "holds them, best both at once."
        )
    group = _dataset_group(arguments)
    user_ids = read_user_ids(arguments.users)
    releases = releases_with(user_ids, arguments.releases)
    result: dict[str, Any] = {"dataset_group": group, "num_users": len(user_ids)}
    with _database(arguments.database, group) as store:
        database_rows, session_ids = None, frozenset[str]()
        if store is not None:
            # First, so that a dataset that takes over what is new meanwhile gets nothing of them.
            database_rows, session_ids = _forget_in_database(store, user_ids, console)
            result["database_rows"] = database_rows
        if session_ids:
            user_ids = [*user_ids, *sorted(session_ids - {*user_ids})]
            releases = releases_with(user_ids, arguments.releases)
        if arguments.dataset is not None:
            result |= _forget_in_dataset(
                arguments.dataset, user_ids, group, releases, database_rows, console
            )
        if store is not None:
            store.forget_sessions(session_ids)
    _show_releases(releases, console)
    return {**result, "seconds": round(time.perf_counter() - started, 3)}


def _dataset_group(arguments: argparse.Namespace) -> str:
    if arguments.dataset is None:
        return arguments.dataset_group or DEFAULT_DATASET_GROUP
    check_output(arguments.dataset, "DATASET")
    dataset = open_dataset(arguments.dataset)
    dataset.check_dataset_group(arguments.dataset_group)
    return dataset.manifest.dataset_group


@contextmanager
def _database(url: str | None, dataset_group: str) -> Iterator[StateStore | None]:
    if url is None:
        yield None
        return
    store = StateStore(url, dataset_group, must_exist=True)
    try:
        yield store
    finally:
        store.close()


def _forget_in_database(
    store: StateStore, user_ids: Sequence[str], console: Console
) -> tuple[dict[str, int], frozenset[str]]:
    with console.progress("forgetting in the database") as advance:
        forgotten = store.forget(user_ids, advance)
    rows = dataclasses.asdict(forgotten)
    rows["sessions"] = len(rows.pop("session_ids"))
    console.say(
        f"  {rows['events']:,} events, {rows['user_states']:,} states of users and "
        f"{rows['slates']:,} lists were removed from the database, {rows['sessions']:,} sessions "
        f"of theirs among them"
    )
    return rows, forgotten.session_ids


def _forget_in_dataset(
    path: Path,
    user_ids: Sequence[str],
    dataset_group: str,
    releases: Mapping[str, bool],
    database_rows: Mapping[str, int] | None,
    console: Console,
) -> dict[str, Any]:
    shown = {"dataset": path, "dataset_group": dataset_group}
    with ray_cluster(console, metadata={"command": "forget", **shown}):
        manifest, receipt = forget_users(
            path,
            user_ids,
            dataset_group=dataset_group,
            run=run_calls,
            releases=releases,
            database_rows=database_rows,
        )
        job_page.add({"users_forgotten": len(receipt.users)})
    _show(receipt, path, console)
    return {
        "dataset": str(path),
        "receipt": str(path / manifest.receipts[-1]),
        **receipt.model_dump(mode="json", exclude={"users"}),
    }


def read_user_ids(path: Path) -> list[str]:
    """Return the distinct user ids of a file: a table with a USER_ID column, or one id a line.

    Raises:
        SourceError: the file cannot be read, or holds something that is no user id. To pass over
            it could mean that somebody is not forgotten.
    """
    if not path.name.lower().endswith(_ONE_A_LINE):
        source = local_source(path, str(path), TABLE_FORMATS)
        catalogue = read_catalogue(source, undeclared(Kind.USERS))
        if catalogue.num_unusable:
            raise SourceError(
                f"{catalogue.num_unusable:,} rows of {path} name nobody, and whom they mean would "
                f"not be forgotten, so nobody was. Mend the file. {' '.join(catalogue.notices)}"
            )
        ids: list[str] = catalogue.table.column(USER_ID).to_pylist()
        return ids
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as lines of text: {error}") from error
    return list(dict.fromkeys(line for line in (one.rstrip("\r") for one in lines) if line))


def releases_with(user_ids: Collection[str], directories: Sequence[Path]) -> dict[str, bool]:
    """Return, by the path of each release in some directories, whether it holds any of the users.

    One that cannot be read may hold them, so it counts as one that does.

    Raises:
        ConfigError: a directory is not there. To pass over it could mean that a release that
            holds them is not told of.
    """
    found = {}
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(
                f"--releases {directory} is no directory, so it cannot be said which releases hold "
                f"these users. Nobody was forgotten; check the path."
            )
        is_release = (directory / MANIFEST_NAME).is_file()
        names = [""] if is_release else list_releases(directory)
        for path in (directory / name for name in names):
            try:
                found[str(path)] = _holds(path, user_ids)
            except (ReleaseError, DatasetError):
                found[str(path)] = True
    return found


def _holds(path: Path, user_ids: Collection[str]) -> bool:
    release = open_release(path)
    ids = list(user_ids)
    vocabulary = Vocabulary.open(release.file(USER_VOCABULARY))
    histories = Histories.open(release.file(HISTORIES))
    return bool(vocabulary.numbers(ids).any() or (histories.rows_of(ids) >= 0).any())


def _show(receipt: Receipt, dataset: Path, console: Console) -> None:
    rows = receipt.rows
    console.say(
        f"  {len(receipt.users):,} users are forgotten, {receipt.num_users_found:,} of whom had "
        f"interactions: {rows['interactions']:,} of these were taken out of {dataset}, "
        f"{rows['quarantine']:,} rows of quarantine, {rows['users']:,} of the table of users"
    )
    console.say(f"  shards written again: {len(receipt.shards_rewritten):,}")


def _show_releases(releases: Mapping[str, bool], console: Console) -> None:
    for release in sorted(name for name, has_them in releases.items() if has_them):
        console.say(f"  release {release} still holds some of them: remove it", style="yellow")
    if not releases:
        console.say("  no release was looked at: name them with --releases", style="yellow")
