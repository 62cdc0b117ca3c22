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


def seed_random_numbers(seed: int, device: torch.device) -> None:
    """Let torch draw the same random numbers from here on, on the CPU and on that device.

    The numbers are those that `torch.manual_seed` begins. That one also notes, for each kind of
    device that this process never used, from where it was called: 1 ms where the stack is deep.

    Args:
        seed: in [0, 2**63).
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
