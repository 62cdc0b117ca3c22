"""A trained transformer that encodes histories, bit for bit the same in any batch.

A history is padded to a multiple of 16 positions, and histories of one padded length go through the
layers together, as many as `_TILE_POSITIONS` hold: so the shape of every product follows from the
length of the history alone. Of the last layer only the newest position is worked out.

Letters for shapes:
    B  histories
    L  positions of a tile's histories
    D  width of an embedding
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.dataset.histories import Histories
from raysys.dataset.inputs import Inputs, newest_inputs
from raysys.models.tiles import WIDTH_MULTIPLE
from raysys.models.transformer import Transformer, distances_back
from raysys.tables import UNKNOWN_NUM

_TILE_POSITIONS = 256
"""On one core, at width 64, a history of 128 positions takes 3.4 ms alone, 1.4 ms among many. With
512 it is 6.1 ms and 0.9 ms, with 128 it is 2.6 ms and 1.9 ms."""


class TransformerEncoder:
    """The layers of `Transformer`, in tiles of a shape that a history's own length gives."""

    def __init__(self, model: Transformer, device: torch.device) -> None:
        self._items = model.items.all_rows().to(device)
        self._event_types = _rows(model.event_types, device)
        self._gaps = _rows(model.gaps, device)
        self._layers = copy.deepcopy(model.layers).to(device).eval()
        self._norm = copy.deepcopy(model.norm).to(device)
        self._temperature = model.temperature
        self._device = device
        self._window = model.config.window

    def encode(self, histories: Histories) -> NDArray[np.float32]:
        """Return (B, D); zeros for an empty history."""
        lengths = histories.lengths
        padded = lengths + -lengths % WIDTH_MULTIPLE
        encoded = np.zeros((len(histories), self._items.shape[1]), dtype=np.float32)
        for num_positions in np.unique(padded[padded > 0]).tolist():
            rows = np.flatnonzero(padded == num_positions)
            distances = distances_back(num_positions, self._window, self._device)
            tile = max(1, _TILE_POSITIONS // num_positions)
            for start in range(0, len(rows), tile):
                chosen = rows[start : start + tile]
                inputs = newest_inputs(
                    histories, chosen, num_positions, time_gaps=self._gaps is not None
                )
                queries = self._tile(inputs, tile, distances)
                encoded[chosen] = queries.cpu().numpy()[: len(chosen)]
        return encoded

    def _tile(self, inputs: Inputs, num_rows: int, distances: Tensor) -> Tensor:
        """Return the queries, (num_rows, D), of up to so many left-padded histories, (B, L)."""

        def filled(nums: NDArray[np.int64]) -> Tensor:
            rows = np.zeros((num_rows, nums.shape[1]), dtype=np.int64)
            rows[: len(nums)] = nums
            return torch.from_numpy(rows).to(self._device)

        item_nums = filled(inputs.item_nums)
        states = self._items[item_nums]
        for table, nums in ((self._event_types, inputs.event_types), (self._gaps, inputs.gaps)):
            if table is not None and nums is not None:
                states += table[filled(nums)]
        is_padding = item_nums == UNKNOWN_NUM
        is_hidden = (is_padding[:, :, None] != is_padding[:, None, :]) | (distances < 0)
        mask = torch.zeros(is_hidden.shape, device=self._device)
        mask = mask.masked_fill_(is_hidden, -torch.inf)[:, None]  # (B, 1, L, L)
        distances = distances.clamp(min=0)
        *layers, last = self._layers
        for layer in layers:
            states = layer(states, distances, mask)
        states = last(states, distances[-1:], mask[:, :, -1:])[:, 0]
        queries: Tensor = self._norm(states) / self._temperature
        return queries


def _rows(table: nn.Embedding | None, device: torch.device) -> Tensor | None:
    """Return a copy of a table's rows."""
    return None if table is None else table.weight.detach().clone().to(device)
