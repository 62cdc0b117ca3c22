"""Histories and items as vectors, bit for bit the same wherever they are encoded.

Evaluation and serving both encode here. A history's vector depends on the history and the weights
alone: not on the other histories of the call, its place among them, or their number; `tiles` says
how. (Two machines with different processors may still differ in the last bits.)

Letters for shapes:
    B  histories
    N  items
    D  width of an embedding, padded
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.dataset.bags import Bags
from raysys.dataset.features import Properties
from raysys.dataset.histories import Histories
from raysys.models.base import EmbeddingModel, TowerModel
from raysys.models.counted import Counted
from raysys.models.ensemble import Ensemble
from raysys.models.features import ROWS_AT_ONCE
from raysys.models.gru import Gru
from raysys.models.gru_encoder import GruEncoder
from raysys.models.item_to_item import ItemToItem
from raysys.models.tiles import one_thread, padded_width
from raysys.models.transformer import Transformer
from raysys.models.transformer_encoder import TransformerEncoder
from raysys.models.two_tower import TwoTower
from raysys.tables import UNKNOWN_NUM


class HistoryEncoder:
    """Encodes histories with one model's weights, copied and laid out once.

    Later changes of the model do not reach it, but for users of whom something is said. Safe to
    share between threads.
    """

    def __init__(self, model: EmbeddingModel, device: torch.device | None = None) -> None:
        """Lay the weights out on `device`, which then does the work.

        Args:
            device: None: the CPU. On another one a vector may differ in its last bits from that of
                evaluation, which encodes on the CPU.
        """
        self.num_user_buckets = model.num_user_buckets
        self._users = model.features.users
        # The table that gives anchors theirs; other models are asked about no item.
        self._items = model.features.items if isinstance(model, ItemToItem) else None
        with torch.inference_mode(), one_thread():
            self._queries = _queries_of(model, device or torch.device("cpu"))

    def features_of_user(self, properties: Properties) -> Bags | None:
        """Return what a request says of a user in one row of features; None: no model reads it."""
        return None if self._users is None else self._users.encoder.encode_properties([properties])

    def features_of_item(self, properties: Properties) -> Bags | None:
        """Return the same of an item that is asked about."""
        return None if self._items is None else self._items.encoder.encode_properties([properties])

    def encode(
        self,
        histories: Histories,
        *,
        user_nums: NDArray[np.integer] | None = None,
        said: Mapping[int, Bags] = MappingProxyType({}),
        about: Mapping[int, Bags] = MappingProxyType({}),
    ) -> NDArray[np.float32]:
        """Return one vector per history, (B, D) float32, divided by the model's temperature.

        Items of number 0 are skipped, as if they had not been in the log. Zeros stand for those of
        whom the model knows nothing: where it reads histories, one without known items; where it
        reads users, one without number or from whom nothing was learnt, unless features are said of
        them. The contexts that they ask in move the vectors of all others.

        Args:
            user_nums: (B,) numbers of the users; None: all unknown.
            said: by row: `features_of_user`, which stand for those that the model knew.
            about: by row: `features_of_item`, which stand for the newest item of the history.
        """
        if user_nums is None:
            user_nums = np.zeros(len(histories), dtype=np.int64)
        return self._queries(histories, _Beside(user_nums, said, about))


class _Beside(NamedTuple):
    """What is known of queries beside their histories; see `HistoryEncoder.encode`."""

    user_nums: NDArray[np.integer]
    said: Mapping[int, Bags]
    about: Mapping[int, Bags]


_Queries = Callable[[Histories, _Beside], NDArray[np.float32]]
"""From B histories, and what is known beside them, to (B, D)."""


def _queries_of(model: EmbeddingModel, device: torch.device) -> _Queries:
    if isinstance(model, Gru):
        own = _of_histories(GruEncoder(model, device), model.history_length)
        return _in_context(own, model)
    if isinstance(model, Transformer):
        own = _of_histories(TransformerEncoder(model, device), model.history_length)
        return _in_context(own, model)
    if isinstance(model, TwoTower):
        return _in_context(_of_users(model), model)
    if isinstance(model, ItemToItem):
        return _of_anchors(model)
    if isinstance(model, Counted):
        one = padded_width(torch.ones(1, 1)).numpy()
        return lambda histories, beside: np.repeat(one, len(histories), axis=0)
    if isinstance(model, Ensemble):
        return _of_members([(_queries_of(each, device), share) for each, share in model.each()])
    raise TypeError(f"A {type(model).__name__} cannot be encoded yet.")


def _of_users(model: TwoTower) -> _Queries:
    """Return the vectors of users, kept, but for those of whom something else is said by now."""
    tower = model.query_tower
    rows = padded_width(tower.all_rows().cpu() / model.temperature).numpy()
    ids, layers = tower.ids.weight.detach(), None
    if tower.projection is not None:
        layers = [each.astype(np.float64) for each in tower.projection.as_arrays()]

    def queries(histories: Histories, beside: _Beside) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = rows[beside.user_nums]
        if layers is not None:
            for row, features in beside.said.items():
                # No copy of all ids, which may be millions: a server's model stays as it is.
                own = padded_width(ids[int(beside.user_nums[row])].cpu()).numpy()
                vectors[row] = (own + features.projected(layers)[0]) / model.temperature
        return vectors

    return queries


def _of_anchors(model: ItemToItem) -> _Queries:
    """Return the vectors of items that are asked about, by what is said of those without number."""
    tower = model.anchor_tower
    anchors = padded_width(tower.all_rows().cpu() / model.temperature).numpy()
    layers = None
    if tower.projection is not None:
        layers = [each.astype(np.float64) for each in tower.projection.as_arrays()]

    def queries(histories: Histories, beside: _Beside) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = anchors[_newest_known(histories)]
        if layers is not None:
            for row, features in beside.about.items():
                vectors[row] = features.projected(layers)[0] / model.temperature
        return vectors

    return queries


def _in_context(own: _Queries, model: TowerModel) -> _Queries:
    """Return what moves queries by the contexts that they are asked in; zeros stay zeros."""
    if model.context is None:
        return own
    tables = [
        padded_width(table.cpu() / model.temperature).numpy()
        for table in model.context.parameters()
    ]

    def queries(histories: Histories, beside: _Beside) -> NDArray[np.float32]:
        vectors = own(histories, beside)
        is_known = vectors.any(axis=1)
        codes = histories.asked_in
        if codes is None:
            codes = np.zeros(len(histories), np.int64)  # everything is missing
        codes = codes[is_known]
        for table in tables:
            vectors[is_known] += table[codes % len(table)]
            codes = codes // len(table)
        return vectors

    return queries


def _of_members(members: list[tuple[_Queries, float]]) -> _Queries:
    def queries(histories: Histories, beside: _Beside) -> NDArray[np.float32]:
        vectors = [own(histories, beside) * np.float32(share) for own, share in members]
        return np.concatenate(vectors, axis=1)

    return queries


def _newest_known(histories: Histories) -> NDArray[np.int32]:
    """Return the newest item of each history that has a number, (B,); 0 where there is none."""
    known = histories.where(histories.item_nums != UNKNOWN_NUM)
    has_one = known.lengths > 0
    newest = np.full(len(known), UNKNOWN_NUM, np.int32)
    newest[has_one] = known.item_nums[known.offsets[1:][has_one] - 1]
    return newest


def _of_histories(encoder: GruEncoder | TransformerEncoder, length: int) -> _Queries:
    def queries(histories: Histories, beside: _Beside) -> NDArray[np.float32]:
        if (histories.item_nums == UNKNOWN_NUM).any():
            histories = histories.where(histories.item_nums != UNKNOWN_NUM)
        if histories.lengths.max(initial=0) > length:
            histories = histories.last(length)
        with torch.inference_mode(), one_thread():
            return encoder.encode(histories)

    return queries


def encode_histories(
    model: EmbeddingModel, histories: Histories, *, user_nums: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Return `HistoryEncoder(model).encode(...)`. Where calls are many, keep a HistoryEncoder."""
    return HistoryEncoder(model).encode(histories, user_nums=user_nums)


def encode_catalogue(model: EmbeddingModel) -> NDArray[np.float32]:
    """Return the vectors of items 1 to N, (N, D) float32."""
    device = next(model.parameters()).device
    nums = torch.arange(1, model.num_items + 1, device=device)
    with torch.inference_mode(), one_thread():
        vectors = torch.cat(
            [model.encode_candidates(each) for each in torch.split(nums, ROWS_AT_ONCE)]
        )
    return padded_width(vectors.cpu()).numpy()
