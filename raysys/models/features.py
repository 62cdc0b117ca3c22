"""Towers: what each id has learnt for itself, plus what follows from the features that it has.

    vector(number) = ids[number] + projection(features[number])

    projection(bag) = W_k relu(... relu(sum over the bag of value * W_0[feature] + b_0) ...) + b_k

An id without features is its own row: the projection of an empty bag is zero. An id that nobody has
met is its features' projection, since its row is zero. Without hidden layers the projection is the
sum alone.

Letters for shapes:
    B  numbers    U  distinct ones    F  features    D  width of an embedding
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.dataset.feature_table import FeatureTable
from raysys.models.every_bag import EveryBag
from raysys.models.tiles import padded_width
from raysys.tables import UNKNOWN_NUM

ROWS_AT_ONCE = 4096
"""Of a whole table, which is computed in pieces of one shape so that its bits are always alike."""


class FeatureTower(nn.Module):
    """From numbers to vectors, `D = width`.

    Args:
        num_rows: of the table of ids. Numbers that the feature table lacks have no features.
        width: D.
        table: features by number; None: ids alone.
        hidden_layers: widths of the layers between features and vector; none: one product.
        id_dropout: share of ids that training leaves out at each step, so that features learn to
            do without them.
    """

    def __init__(
        self,
        num_rows: int,
        width: int,
        *,
        table: FeatureTable | None = None,
        hidden_layers: tuple[int, ...] = (),
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.ids = nn.Embedding(num_rows, width, padding_idx=UNKNOWN_NUM)
        self.table = table
        self._id_dropout = id_dropout
        self._every_bag: EveryBag | None = None
        self._rows: Tensor | None = None
        self.projection: Projection | None = None
        if table is not None:
            self.projection = Projection(table.encoder.num_features, width, hidden_layers)
            for name, array in _as_tensors(table).items():
                self.register_buffer(f"_{name}", array, persistent=False)

    def forward(self, nums: Tensor) -> Tensor:
        """Return (..., D) for (...,) int64 numbers."""
        if self._rows is not None:
            return F.embedding(nums, self._rows)
        if self.projection is None:
            return self.ids(nums)  # type: ignore[no-any-return]
        distinct, places = torch.unique(nums, return_inverse=True)
        return F.embedding(places, self._distinct(self.projection, distinct))

    @contextmanager
    def computed_once(self) -> Iterator[None]:
        """Let all that is looked up in the block share one computation of all vectors.

        For steps that need the vectors of the whole table, and some of them once more.
        """
        if self.projection is not None:
            self._rows = self._learnt_ids(torch.arange(len(self.ids.weight), device=self._device))
            self._rows = self._rows + self._all_projected(self.projection)
        try:
            yield
        finally:
            self._rows = None

    def all_rows(self) -> Tensor:
        """Return the vectors of all numbers, (num_rows, D), without gradients, always alike."""
        with torch.no_grad():
            nums = torch.arange(len(self.ids.weight), device=self._device)
            return torch.cat([self(each) for each in torch.split(nums, ROWS_AT_ONCE)])

    @property
    def _device(self) -> torch.device:
        return self.ids.weight.device

    def _distinct(self, projection: "Projection", nums: Tensor) -> Tensor:
        return self._learnt_ids(nums) + self._projected(projection, nums)

    def _learnt_ids(self, nums: Tensor) -> Tensor:
        """Return the rows of (U,) distinct numbers, of which a step does without some."""
        rows: Tensor = self.ids(nums)
        if self.training and self._id_dropout:
            rows = rows * (torch.rand(len(nums), 1, device=nums.device) >= self._id_dropout)
        return rows

    def _projected(self, projection: "Projection", nums: Tensor) -> Tensor:
        """Return what follows from the features of (U,) numbers; zero where there are none."""
        offsets: Tensor = self.get_buffer("_offsets")
        rows = torch.where(nums < len(offsets) - 1, nums, UNKNOWN_NUM)
        starts = offsets[rows]
        sizes = offsets[rows + 1] - starts
        begins = sizes.cumsum(0) - sizes
        places = torch.arange(int(sizes.sum()), device=nums.device)
        places += (starts - begins).repeat_interleave(sizes)
        sums = F.embedding_bag(
            self.get_buffer("_nums")[places].long(),
            projection.features,
            begins,
            mode="sum",
            per_sample_weights=self.get_buffer("_values")[places],
        )
        return projection(sums) * (sizes > 0)[:, None]  # type: ignore[no-any-return]

    def _all_projected(self, projection: "Projection") -> Tensor:
        """Return what `_projected` returns for all numbers, with a cheaper gradient."""
        offsets = self.get_buffer("_offsets")
        num_without = len(self.ids.weight) + 1 - len(offsets)
        offsets = torch.cat([offsets, offsets[-1:].expand(num_without)])
        if self._every_bag is None or self._every_bag.device != self._device:
            self._every_bag = EveryBag(
                self.get_buffer("_nums"),
                self.get_buffer("_values"),
                offsets,
                len(projection.features),
            )
        sums = self._every_bag.sums(projection.features)
        return projection(sums) * (offsets.diff() > 0)[:, None]  # type: ignore[no-any-return]


class Projection(nn.Module):
    """From features to vectors. Untrained it is zero, so that a tower begins as its ids."""

    def __init__(self, num_features: int, width: int, hidden_layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        widths = [*hidden_layers, width]
        self.features = nn.Parameter(torch.zeros(num_features, widths[0]))
        self.bias = nn.Parameter(torch.zeros(widths[0])) if hidden_layers else None
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(narrow, wide) for narrow, wide in pairs)
        if hidden_layers:
            nn.init.normal_(self.features, std=widths[0] ** -0.5)
            last = self.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, sums: Tensor) -> Tensor:
        """Return (U, D) for the sum over each bag of value * `features[feature]`."""
        vectors = sums
        if self.bias is not None:
            vectors = vectors + self.bias
        for layer in self.layers:
            vectors = layer(F.relu(vectors))
        return vectors

    def as_arrays(self) -> list[NDArray[np.float32]]:
        """Return W_0, b_0, W_1, b_1 and so on, each W (inputs, outputs); b_0 may be zeros.

        What the last ones give is zero-padded as all vectors are that leave a model.
        """
        first = self.features.new_zeros(self.features.shape[1]) if self.bias is None else self.bias
        weights = [self.features, first]
        for layer in self.layers:
            weights += [layer.get_parameter("weight").T, layer.get_parameter("bias")]
        weights[-2:] = [padded_width(each) for each in weights[-2:]]
        return [each.detach().cpu().contiguous().numpy() for each in weights]


def _as_tensors(table: FeatureTable) -> dict[str, Tensor]:
    """Return the arrays of a table, which may be mapped from a file, without a copy."""
    bags = table.bags
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return {
            "nums": torch.from_numpy(bags.nums),
            "values": torch.from_numpy(bags.values),
            "offsets": torch.from_numpy(bags.offsets),
        }
