"""A release of any model, answered for in this process by all that a deployment consists of."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.live_shop import LiveShop
from raysys.release import Release
from raysys.serving.messages import Answer, Query
from raysys.state.items import Item


def answers(
    release: Release,
    directory: Path,
    queries: Sequence[Query],
    *,
    put: Iterable[Item] = (),
    exclude_seen: bool = True,
) -> list[Answer]:
    """Return what a server of two shards answers, exploration being off.

    Args:
        directory: where its database lies.
        put: items that clients put before.
    """
    settings = {"exploration_weight": 0, "exclude_seen": exclude_seen}
    with closing(LiveShop(directory, settings)) as shop:
        shop.open(release)
        shop.put_items([*put])
        return shop.ask(queries)
