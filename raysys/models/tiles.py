"""What makes an encoding the same wherever it is done: one thread, and products of one shape.

A matrix product may add in another order when its shape changes, so whatever is encoded goes
through every product in tiles of a fixed number of rows. Vectors are zero-padded to a multiple of
16: `hidden_dimension` may be prime, and product quantisation wants divisors.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH_MULTIPLE = 16


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside: several would cut a product differently."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def round_up(width: int) -> int:
    """Return the next multiple of 16."""
    return width + -width % WIDTH_MULTIPLE


def padded_width(rows: Tensor) -> Tensor:
    """Return rows whose width is a multiple of 16, zeros added at the end."""
    return F.pad(rows, (0, -rows.shape[-1] % WIDTH_MULTIPLE)).contiguous()
