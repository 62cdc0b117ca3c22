"""Models that are counted: one pass over the users of each worker, and one sum over the workers."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.config import TrendingConfig
from raysys.dataset.histories import Histories
from raysys.dataset.popularity import (
    decayed_counts,
    popularity_counts,
    trend_scores,
    window_counts,
)
from raysys.errors import TrainingError
from raysys.models.counted import Counted
from raysys.training.checkpoint import Checkpoint, EpochResult
from raysys.training.communication import Communicator

_DAY_S = 86400.0


def count(
    model: Counted,
    train: Histories,
    comm: Communicator,
    *,
    validate: Callable[[Counted], dict[str, float]] | None,
    on_epoch: Callable[[EpochResult, Checkpoint], bool | None],
    start: Checkpoint | None = None,
) -> list[EpochResult]:
    """Count in place of an epoch; see `loop.fit`, of which this is one way.

    The loss is how surprised the finished model is, on average, by what it was counted from.

    Raises:
        TrainingError: no worker has an interaction with a known item.
    """
    if start is not None:
        model.load_state_dict(start.best_weights)
        return list(start.results)

    device = model.items.ids.weight.device

    def total(counts: NDArray[Any]) -> NDArray[Any]:
        tensor = torch.from_numpy(counts).to(device)
        comm.sum_([tensor])
        return tensor.cpu().numpy()

    began = time.perf_counter()
    newest = torch.tensor([_newest_us(train.blocks())], device=device)
    now_us = int(comm.gather(newest).max())
    counts = total(popularity_counts(train.blocks(), model.num_items))
    if not counts.any():
        raise TrainingError(
            "There is nothing to count: no user in the training part has an interaction with a "
            "known item that counts. Import more of the log, or hold back less of it."
        )
    scores = _scores(model, train.blocks(), now_us, total)
    model.set_scores(scores)
    model.eval()
    seconds = time.perf_counter() - began
    result = EpochResult(
        epoch=1,
        loss=_surprise(scores[1:], counts[1:]),
        metrics={} if validate is None else validate(model),
        examples_per_s=int(counts.sum()) / seconds,
        seconds=time.perf_counter() - began,
        learning_rate=0.0,
    )
    weights = model.state_dict()
    on_epoch(result, Checkpoint(weights, {}, weights, [result]))
    return [result]


def recount(model: Counted, blocks: Callable[[], Iterable[Histories]]) -> None:
    """Count anew, from other interactions, in this process.

    Args:
        blocks: begins a pass over all users, some at a time; called twice.
    """
    now_us = _newest_us(blocks())
    model.set_scores(_scores(model, blocks(), now_us, lambda counts: counts))


def _scores(
    model: Counted,
    blocks: Iterable[Histories],
    now_us: int,
    total: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[np.float64]:
    """Return the score of each item, (N + 1,) by item number; row 0 is 0.

    Popularity is the log of 1 + count, so that a softmax of the scores is an item's share of the
    interactions, each item counted once more. As float32, which vectors are, counts of a million
    and more tie where they differ by less than a millionth. A trend is `trend_scores`.

    Args:
        blocks: the caller's users.
        now_us: of the newest interaction of all users.
        total: adds up what all who hold users have counted.
    """
    config, num_items = model.config, model.num_items
    if isinstance(config, TrendingConfig):
        counts = window_counts(blocks, num_items, now_us=now_us, window_s=config.window_s)
        return trend_scores(total(counts))
    if config.half_life_days is None:
        ever: NDArray[np.float64] = np.log1p(total(popularity_counts(blocks, num_items)))
        return ever
    half_life_s = config.half_life_days * _DAY_S
    decayed = decayed_counts(blocks, num_items, now_us=now_us, half_life_s=half_life_s)
    lately: NDArray[np.float64] = np.log1p(total(decayed))
    return lately


def _newest_us(blocks: Iterable[Histories]) -> int:
    newest = (int(block.occurred_at_us.max()) for block in blocks if block.num_interactions)
    return max(newest, default=np.iinfo(np.int64).min)


def _surprise(scores: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the mean of -log softmax over interactions, in nats."""
    log_sum = float(np.logaddexp.reduce(scores))
    return log_sum - float(scores @ counts) / int(counts.sum())
