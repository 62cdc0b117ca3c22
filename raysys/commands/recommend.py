"""`raysys recommend`: rank for users straight from a release, without a server."""

import argparse
from typing import Any

from raysys.commands.console import Console
from raysys.commands.released_model import ReleasedModel
from raysys.commands.taste import Catalogue
from raysys.config import ServingConfig
from raysys.errors import ConfigError, UnknownIdError
from raysys.release import open_release


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Rank for each user; events that a server stored later are not known here."""
    if not 1 <= arguments.num <= 500:
        raise ConfigError(f"--num must lie in [1, 500], but got {arguments.num}.")
    model = ReleasedModel(open_release(arguments.release))
    rows = model.histories.rows_of(arguments.user)
    unknown = [user for user, row in zip(arguments.user, rows, strict=True) if row < 0]
    if unknown:
        raise UnknownIdError(
            f"Release {model.release.name} knows no user {unknown[0]!r}; it was built from the "
            f"histories of {len(model.histories):,} users. A server answers such a user with the "
            f"popular list."
        )
    max_seen_items = ServingConfig.model_fields["max_seen_items"].default
    lists = model.ranked(model.histories.take(rows), arguments.num, max_seen_items=max_seen_items)
    catalogue = Catalogue(model.item_table(), model.items.ids.to_pylist())
    for user, items in zip(arguments.user, lists, strict=True):
        console.step(f"User {user}")
        for place, item_id in enumerate(items, start=1):
            console.verbatim(f"  {place:>3}  {item_id:<10} {catalogue.title(item_id)}")
    return {
        "release": model.release.name,
        "recommendations": dict(zip(arguments.user, lists, strict=True)),
    }
