"""Going on from a trained model: where its weights are, and who did something since."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.config import PipelineConfig
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.splits import SplitBlocks
from raysys.hashing import sha256_of_file
from raysys.models.base import EmbeddingModel
from raysys.models.weights import WEIGHTS_NAME, load_model
from raysys.training.pieces import Pieces, usual_lengths

CONTEXT = 1000
"""How many interactions before a user's first new one are learnt again with it: nearly everybody's
whole history, while crawlers cost no more than others."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A model to begin with instead of an untrained one, and from whom it learns.

    Args:
        model: an absolute path of what `save_model` wrote, for the vocabularies of the training.
        after_us: only users with an interaction later than this are learnt from, in microseconds
            since 1970 UTC. Of them what is later is, and the CONTEXT interactions before it, so
            that what is new is read in its context, and what was known is not forgotten.
    """

    model: Path
    after_us: int

    def load(self, vocabulary: str) -> EmbeddingModel:
        """Return the model, ready to learn.

        Raises:
            DamagedReleaseError: the files cannot be read.
            ReleaseMismatchError: it is for another item vocabulary than the one with this hash.
        """
        return load_model(self.model, vocabulary=vocabulary).requires_grad_(True)

    def narrowed(self, pieces: Pieces, histories: Histories) -> Pieces:
        """Return the pieces with only what is new to the active users to learn from.

        Validation stays on all users: what the others lose has to be seen.

        Args:
            histories: of all users of the pieces, nothing held back.
        """
        active = histories.user_ids.take(active_rows(histories, self.after_us))
        rows = pieces.train.rows_of(active)
        train = pieces.train.take(np.sort(rows[rows >= 0]))
        num_old = np.diff(offsets_of(train.occurred_at_us <= self.after_us)[train.offsets])
        first = np.repeat(num_old - CONTEXT, train.lengths)
        return Pieces(train.where(train.places >= first), pieces.validation)

    def fingerprint(self) -> dict[str, Any]:
        """Return, fit for JSON, what makes another training of it."""
        return {"weights": sha256_of_file(self.model / WEIGHTS_NAME), "after_us": self.after_us}


def active_rows(histories: Histories, after_us: int) -> NDArray[np.int64]:
    """Return the rows of the users with an interaction later than a time, ascending."""
    has_any = histories.lengths > 0
    newest_us = histories.occurred_at_us[histories.offsets[1:][has_any] - 1]
    rows: NDArray[np.int64] = np.flatnonzero(has_any)[newest_us > after_us]
    return rows


def learnable_lengths(
    histories: Histories, config: PipelineConfig, after_us: int
) -> NDArray[np.int64]:
    """Return how many interactions are learnt from, of each active user who is learnt from.

    The users are those of `WarmStart.narrowed`; histories are read in blocks.
    """
    parts = SplitBlocks.of(histories, config.split)
    lengths, is_active = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for block, part in zip(parts.blocks, parts, strict=True):
        train = part.train.inputs()
        active = block.user_ids.take(active_rows(block, after_us))
        lengths.append(train.lengths)
        is_active.append(pc.is_in(train.user_ids, active).to_numpy(zero_copy_only=False))
    of_all = np.concatenate(lengths)
    found: NDArray[np.int64] = of_all[
        np.concatenate(is_active) & usual_lengths(of_all, config.model)
    ]
    return found
