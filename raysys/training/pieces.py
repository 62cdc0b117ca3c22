"""What one worker learns from and what it validates on."""

from dataclasses import dataclass

import numpy as np

from raysys.config import LeaveLastOut, SplitConfig
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held, Split, leave_last_out, split


@dataclass(frozen=True, slots=True)
class Pieces:
    """Of some users: what is learnt from, and what chooses the best epoch. Never the test part."""

    train: Histories
    validation: Held


def needs_all_users(config: SplitConfig) -> bool:
    """Return whether where a user's interactions go depends on other users' too."""
    return not isinstance(config, LeaveLastOut)


def pieces_of_all(histories: Histories, config: SplitConfig) -> Pieces:
    """Return the pieces of every user."""
    parts: Split = split(histories, config)
    return Pieces(parts.train, parts.validation)


def pieces_of(histories: Histories, of_all: Pieces | None) -> Pieces:
    """Return the pieces of one worker's users.

    Args:
        histories: of the worker's users.
        of_all: the pieces of every user; None where each user's are found alone.
    """
    if not len(histories):
        return Pieces(histories, Held(histories, histories))
    if of_all is None:
        parts = leave_last_out(histories)
        return Pieces(parts.train, parts.validation)
    held = of_all.validation
    return Pieces(
        _of_users(of_all.train, histories),
        Held(_of_users(held.histories, histories), _of_users(held.relevant, histories)),
    )


def _of_users(all_users: Histories, own: Histories) -> Histories:
    rows = all_users.rows_of(own.user_ids)
    return all_users.take(np.sort(rows[rows >= 0]))
