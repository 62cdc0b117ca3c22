"""`raysys recommend`: rank for users or items straight from a release, without a server."""

import argparse
from typing import Any

from raysys.commands.console import Console
from raysys.commands.released_model import ReleasedModel
from raysys.commands.taste import Catalogue
from raysys.config import ServingConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.errors import ConfigError, UnknownIdError
from raysys.release import open_release
from raysys.tables import UNKNOWN_NUM


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Rank for each user or item; events that a server stored later are not known here."""
    if not 1 <= arguments.num <= 500:
        raise ConfigError(f"--num must lie in [1, 500], but got {arguments.num}.")
    model = ReleasedModel(open_release(arguments.release))
    catalogue = Catalogue(model.item_table(), model.items.ids.to_pylist())
    if arguments.user is not None:
        asked, histories = arguments.user, _of_users(model, arguments.user)
        titles = [f"User {user}" for user in asked]
    else:
        asked, histories = arguments.item, _of_items(model, arguments.item)
        titles = [f"Item {item} {catalogue.title(item)}" for item in asked]
    max_seen_items = ServingConfig.model_fields["max_seen_items"].default
    lists = model.ranked(histories, arguments.num, max_seen_items=max_seen_items)
    for title, items in zip(titles, lists, strict=True):
        console.step(title)
        for place, item_id in enumerate(items, start=1):
            console.verbatim(f"  {place:>3}  {item_id:<10} {catalogue.title(item_id)}")
    return {
        "release": model.release.name,
        "recommendations": dict(zip(asked, lists, strict=True)),
    }


def _of_users(model: ReleasedModel, users: list[str]) -> Histories:
    rows = model.histories.rows_of(users)
    unknown = [user for user, row in zip(users, rows, strict=True) if row < 0]
    if unknown:
        raise UnknownIdError(
            f"Release {model.release.name} knows no user {unknown[0]!r}; it was built from the "
            f"histories of {len(model.histories):,} users. A server answers such a user with the "
            f"popular list."
        )
    return model.histories.take(rows)


def _of_items(model: ReleasedModel, items: list[str]) -> Histories:
    """Return histories of one item each, of nobody in particular."""
    if isinstance(model.model.config, TwoTowerConfig):
        raise ConfigError(
            f"Release {model.release.name} is of a two_tower model, which answers users and reads "
            f"no items, so it cannot say what goes with one. Ask it for --user, or train with "
            f"--recipe aws-similar-items."
        )
    nums = model.items.numbers(items)
    unknown = [item for item, num in zip(items, nums, strict=True) if num == UNKNOWN_NUM]
    if unknown:
        raise UnknownIdError(
            f"Release {model.release.name} knows no item {unknown[0]!r}; it was built from "
            f"interactions with {len(model.items):,} items."
        )
    return Histories.from_lists(items, [[num] for num in nums.tolist()], [[0]] * len(items))
