"""`raysys items`: keep items from everybody, show them again, say which are hidden, and put those
of a dataset that no release holds.

Amazon Personalize has no way to take one item out; this is the operator's.
"""

import argparse
import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from raysys.commands.console import Console
from raysys.config import check_dataset_group_name
from raysys.dataset.cold_items import cold_items
from raysys.dataset.dataset import Dataset, open_dataset
from raysys.state.items import Item
from raysys.state.store import StateStore

_PUT_AT_ONCE = 1_000


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do it. Running servers know of it within two seconds."""
    check_dataset_group_name(arguments.dataset_group)
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=True)
    with contextlib.closing(store):
        if arguments.action == "list":
            hidden = store.hidden_items()
            for item_id in hidden:
                console.verbatim(item_id)
            if not hidden:
                console.say("No item is hidden: `raysys items hide ID` hides one.")
            return {"hidden": hidden}
        if arguments.action == "put":
            dataset = open_dataset(arguments.dataset)
            dataset.check_dataset_group(arguments.dataset_group)
            return _put(dataset, store, console, replace=arguments.replace)
        is_hidden = arguments.action == "hide"
        version = store.hide_items(arguments.item_ids, is_hidden=is_hidden)
        number = len({*arguments.item_ids})
        said = "kept from everybody" if is_hidden else "shown again"
        console.say(f"{number} {'item is' if number == 1 else 'items are'} {said}.")
        return {"item_ids": sorted({*arguments.item_ids}), "delta_version": version}


def _put(dataset: Dataset, store: StateStore, console: Console, *, replace: bool) -> dict[str, Any]:
    """Put the items of a dataset with which nobody interacted.

    Args:
        replace: also those that were put before; else what a client said of them stays.
    """
    known = set() if replace else {item.item_id for item in store.changed_items(0).items}
    items = (item for item in _items(dataset) if item.item_id not in known)
    number = 0
    while some := [*islice(items, _PUT_AT_ONCE)]:
        store.put_items(some)
        number += len(some)
    console.say(
        f"{number} {'item' if number == 1 else 'items'} with which nobody interacted "
        f"{'was' if number == 1 else 'were'} put. Running servers have them in lists within two "
        f"seconds."
    )
    return {"items_put": number}


def _items(dataset: Dataset) -> Iterator[Item]:
    for item_id, known, created_at_us in cold_items(dataset):
        yield Item(item_id, msgspec.json.encode(known).decode(), created_at_us)
