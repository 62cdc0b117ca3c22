"""`raysys items`: keep items from everybody, show them again, and say which are hidden.

Amazon Personalize has no way to take one item out; this is the operator's.
"""

import argparse
import contextlib
from typing import Any

from raysys.commands.console import Console
from raysys.config import check_dataset_group_name
from raysys.state.store import StateStore


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
        is_hidden = arguments.action == "hide"
        version = store.hide_items(arguments.item_ids, is_hidden=is_hidden)
        number = len({*arguments.item_ids})
        said = "kept from everybody" if is_hidden else "shown again"
        console.say(f"{number} {'item is' if number == 1 else 'items are'} {said}.")
        return {"item_ids": sorted({*arguments.item_ids}), "delta_version": version}
