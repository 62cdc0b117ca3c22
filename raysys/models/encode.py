"""Histories and items as vectors, bit for bit the same wherever they are encoded.

Evaluation and serving both encode here. A history's vector depends on the history and the weights
alone: not on the other histories of the call, its place among them, or their number. A matrix
product may add in another order when its shape changes, so every product here has one fixed shape:
rows are encoded in tiles of `_TILE`, step by step, one thread. (Two machines with different
processors may still differ in the last bits.)

Vectors are zero-padded to a multiple of 16: `hidden_dimension` may be prime, and product
quantisation wants divisors.

Letters for shapes:
    B  histories
    N  items
    D  width of an embedding, padded
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from raysys.dataset.histories import Histories
from raysys.models.base import EmbeddingModel
from raysys.models.gru import Gru
from raysys.models.recurrence import new_gate_first
from raysys.models.two_tower import TwoTower
from raysys.tables import UNKNOWN_NUM

WIDTH_MULTIPLE = 16
_TILE = 16
"""Histories that go through the recurrence together. At width 149 and 128 steps a tile takes 7 ms
on one core, a tile of 8 takes 6 ms, one of 64 takes 26 ms."""
_PROJECTION_TILE = 256
_MAX_TABLE_BYTES = 1 << 28
"""Projected inputs of all items are kept when they fit in this; else each call projects its own."""


class HistoryEncoder:
    """Encodes histories with one model's weights, copied and laid out once.

    Later changes of the model do not reach it. Safe to share between threads.
    """

    def __init__(self, model: EmbeddingModel, device: torch.device | None = None) -> None:
        """Lay the weights out on `device`, which then does the work.

        Args:
            device: None: the CPU. On another one a vector may differ in its last bits from that of
                evaluation, which encodes on the CPU.
        """
        self.num_user_buckets = model.num_user_buckets
        self._history_length = model.history_length
        with torch.inference_mode(), one_thread():
            if isinstance(model, Gru):
                self._gru: _GruEncoder | None = _GruEncoder(model, device or torch.device("cpu"))
            elif isinstance(model, TwoTower):
                self._gru = None
                users = model.query_tower.weight.detach().cpu() / model.temperature
                self._users = _padded_width(users).numpy()
            else:
                raise TypeError(f"A {type(model).__name__} cannot be encoded yet.")

    def encode(
        self, histories: Histories, *, user_nums: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Return one vector per history, (B, D) float32, divided by the model's temperature.

        Items of number 0 are skipped, as if they had not been in the log. A history without known
        items, like a user without number, is encoded as zeros.

        Args:
            user_nums: (B,) numbers of the users; None: all unknown. Sequential models ignore them.
        """
        if self._gru is None:
            if user_nums is None:
                user_nums = np.zeros(len(histories), dtype=np.int64)
            users: NDArray[np.float32] = self._users[user_nums]
            return users
        if (histories.item_nums == UNKNOWN_NUM).any():
            histories = histories.where(histories.item_nums != UNKNOWN_NUM)
        with torch.inference_mode(), one_thread():
            return self._gru.encode(histories, self._history_length)


def encode_histories(
    model: EmbeddingModel, histories: Histories, *, user_nums: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Return `HistoryEncoder(model).encode(...)`. Where calls are many, keep a HistoryEncoder."""
    return HistoryEncoder(model).encode(histories, user_nums=user_nums)


def encode_catalogue(model: EmbeddingModel) -> NDArray[np.float32]:
    """Return the vectors of items 1 to N, (N, D) float32."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        vectors = model.encode_candidates(torch.arange(1, model.num_items + 1, device=device))
    return _padded_width(vectors.cpu()).numpy()


class _GruEncoder:
    """The recurrence of `recurrence.gru_segment`, without gradients, in tiles of fixed shape."""

    def __init__(self, model: Gru, device: torch.device) -> None:
        input_weight, weight, input_bias, bias = (
            each.detach().to(device) for each in model.gru_weights()
        )
        width = model.embedding_dim
        self._device = device
        self._width = width + -width % WIDTH_MULTIPLE
        self._items = _padded_width(model.items.weight.detach().to(device))
        self._input_weight = _padded_gates(_padded_width(new_gate_first(input_weight)), width)
        self._input_bias = _padded_gates(new_gate_first(input_bias), width)
        self._weight = _padded_gates(_padded_width(weight), width)
        self._bias = _padded_gates(bias, width)
        num_bytes = 4 * len(self._items) * len(self._bias)
        self._table: Tensor | None = None
        if num_bytes <= _MAX_TABLE_BYTES:
            self._table = self._projected(np.arange(len(self._items)))

    def encode(self, histories: Histories, length: int) -> NDArray[np.float32]:
        lengths = np.minimum(histories.lengths, length)
        order = np.argsort(-lengths, kind="stable")  # alike lengths share a tile: fewer steps
        encoded = np.zeros((len(histories), self._width), dtype=np.float32)
        for start in range(0, len(order), _TILE):
            rows = order[start : start + _TILE]
            num_steps = int(lengths[rows[0]])
            if num_steps:
                items, _ = histories.padded(rows, num_steps)
                encoded[rows] = self._tile(items).cpu().numpy()[: len(rows)]
        return encoded

    def _tile(self, items: NDArray[np.int32]) -> Tensor:
        """Return the last states, (_TILE, D), of up to _TILE left-padded histories."""
        nums = np.zeros((items.shape[1], _TILE), dtype=np.int64)  # (steps, _TILE)
        nums[:, : len(items)] = items.T
        table = self._table
        if table is None:
            distinct, places = np.unique(nums, return_inverse=True)
            table, nums = self._projected(distinct), places.reshape(nums.shape)
        projected = table[torch.from_numpy(nums).to(self._device)]  # (steps, _TILE, 3D)
        width = self._width
        state, following, new, gates = (
            self._bias.new_zeros(_TILE, size) for size in (width, width, width, 3 * width)
        )
        reset, update, recurrent_new = torch.split(gates, width, dim=1)
        reset_and_update = gates[:, : 2 * width]
        into_new, into_gates = projected[..., :width].unbind(0), projected[..., width:].unbind(0)
        for step in range(len(nums)):
            torch.addmm(self._bias, state, self._weight.T, out=gates)
            reset_and_update.add_(into_gates[step]).sigmoid_()
            torch.addcmul(into_new[step], reset, recurrent_new, out=new).tanh_()
            torch.lerp(new, state, update, out=following)
            state, following = following, state
        return state

    def _projected(self, item_nums: NDArray[np.int64]) -> Tensor:
        """Return what the gates get from each item, (N, 3D); padding leaves the state as it is."""
        nums = np.zeros(len(item_nums) + -len(item_nums) % _PROJECTION_TILE, dtype=np.int64)
        nums[: len(item_nums)] = item_nums
        projected = self._bias.new_empty(len(nums), len(self._bias))
        for start in range(0, len(nums), _PROJECTION_TILE):
            tile = slice(start, start + _PROJECTION_TILE)
            embedded = self._items[torch.from_numpy(nums[tile]).to(self._device)]
            torch.addmm(self._input_bias, embedded, self._input_weight.T, out=projected[tile])
        # An update gate of sigmoid(inf) = 1 keeps the old state, exactly.
        is_padding = torch.from_numpy(nums == UNKNOWN_NUM).to(self._device)
        keep = self._bias.new_zeros(len(self._bias))
        keep[2 * self._width :] = torch.inf
        projected[is_padding] = keep
        return projected[: len(item_nums)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside: several would cut a product differently."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _padded_width(rows: Tensor) -> Tensor:
    """Return rows whose width is a multiple of 16, zeros added at the end."""
    return F.pad(rows, (0, -rows.shape[-1] % WIDTH_MULTIPLE)).contiguous()


def _padded_gates(rows: Tensor, width: int) -> Tensor:
    """Return (3 * padded, ...) for (3 * width, ...): each gate's rows padded with zeros.

    A padded row has a new gate of tanh(0), so a state that begins with 0 stays 0 there.
    """
    gates = rows.view(3, width, *rows.shape[1:])
    padded = rows.new_zeros(3, width + -width % WIDTH_MULTIPLE, *rows.shape[1:])
    padded[:, :width] = gates
    return padded.view(-1, *rows.shape[1:])
