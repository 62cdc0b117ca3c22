"""Which device does the work of a process."""

import logging

import torch

_LOG = logging.getLogger("raysys.serving")


def usable_gpu() -> torch.device | None:
    """Return the GPU that this process was given; None, and a warning, where torch can use none.

    Products on it are made float32 ones, with 24 bits: rounding bounds and vectors rely on that.
    """
    if not torch.cuda.is_available():
        _LOG.warning(
            "This process was given a GPU, but torch can use none here, so the CPU does its work. "
            "Look at `nvidia-smi` on this node, and at whether its torch was built for CUDA."
        )
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")  # of those that Ray lets this process see, the first
