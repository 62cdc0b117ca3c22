"""A trained GRU that encodes histories, without gradients, bit for bit the same in any batch.

Letters for shapes:
    B  histories
    N  items
    D  width of an embedding, padded
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.dataset.histories import Histories
from raysys.dataset.inputs import Inputs, newest_inputs
from raysys.models.gru import Gru
from raysys.models.recurrence import new_gate_first
from raysys.models.tiles import WIDTH_MULTIPLE, padded_width
from raysys.tables import UNKNOWN_NUM

TILE = 16
"""Histories that go through the recurrence together. At width 149 and 128 steps a tile takes 7 ms
on one core, a tile of 8 takes 6 ms, one of 64 takes 26 ms."""
_PROJECTION_TILE = 256
_MAX_TABLE_BYTES = 1 << 28
"""Projected inputs of all items are kept when they fit in this; else each call projects its own."""


class GruEncoder:
    """The recurrence of `recurrence.gru_segment`, without gradients, in tiles of fixed shape."""

    def __init__(self, model: Gru, device: torch.device) -> None:
        input_weight, weight, input_bias, bias = (
            each.detach().to(device) for each in model.gru_weights()
        )
        width = model.embedding_dim
        self._device = device
        self._width = width + -width % WIDTH_MULTIPLE
        self._items = padded_width(model.items.all_rows().to(device))
        self._input_weight = _padded_gates(padded_width(new_gate_first(input_weight)), width)
        self._input_bias = _padded_gates(new_gate_first(input_bias), width)
        self._weight = _padded_gates(padded_width(weight), width)
        self._bias = _padded_gates(bias, width)
        self._event_types = self._into_gates(model.event_types)
        self._gaps = self._into_gates(model.gaps)
        num_bytes = 4 * len(self._items) * len(self._bias)
        self._table: Tensor | None = None
        if num_bytes <= _MAX_TABLE_BYTES:
            self._table = self._projected(np.arange(len(self._items)))

    def encode(self, histories: Histories) -> NDArray[np.float32]:
        """Return (B, D); zeros for an empty history."""
        lengths = histories.lengths
        order = np.argsort(-lengths, kind="stable")  # alike lengths share a tile: fewer steps
        encoded = np.zeros((len(histories), self._width), dtype=np.float32)
        for start in range(0, len(order), TILE):
            rows = order[start : start + TILE]
            num_steps = int(lengths[rows[0]])
            if num_steps:
                inputs = newest_inputs(histories, rows, num_steps, time_gaps=self._gaps is not None)
                encoded[rows] = self._tile(inputs).cpu().numpy()[: len(rows)]
        return encoded

    def _tile(self, inputs: Inputs) -> Tensor:
        """Return the last states, (TILE, D), of up to TILE left-padded histories."""
        nums = _steps(inputs.item_nums)
        table = self._table
        if table is None:
            distinct, places = np.unique(nums, return_inverse=True)
            table, nums = self._projected(distinct), places.reshape(nums.shape)
        projected = table[torch.from_numpy(nums).to(self._device)]  # (steps, TILE, 3D)
        more = ((self._event_types, inputs.event_types), (self._gaps, inputs.gaps))
        for more_table, more_nums in more:
            if more_table is not None and more_nums is not None:
                projected += more_table[torch.from_numpy(_steps(more_nums)).to(self._device)]
        width = self._width
        state, following, new, gates = (
            self._bias.new_zeros(TILE, size) for size in (width, width, width, 3 * width)
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

    def _into_gates(self, table: nn.Embedding | None) -> Tensor | None:
        """Return what the gates get from each row beside what they get from the item, (N, 3D)."""
        if table is None:
            return None
        rows = padded_width(table.weight.detach().to(self._device))
        return rows @ self._input_weight.T

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


def _steps(nums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of up to TILE histories step by step, (steps, TILE)."""
    steps = np.zeros((nums.shape[1], TILE), dtype=np.int64)
    steps[:, : len(nums)] = nums.T
    return steps


def _padded_gates(rows: Tensor, width: int) -> Tensor:
    """Return (3 * padded, ...) for (3 * width, ...): each gate's rows padded with zeros.

    A padded row has a new gate of tanh(0), so a state that begins with 0 stays 0 there.
    """
    gates = rows.view(3, width, *rows.shape[1:])
    padded = rows.new_zeros(3, width + -width % WIDTH_MULTIPLE, *rows.shape[1:])
    padded[:, :width] = gates
    return padded.view(-1, *rows.shape[1:])
