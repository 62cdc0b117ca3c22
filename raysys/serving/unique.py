"""Ids and seeds that nobody else draws, many times cheaper than a system call each."""

import os
import random

# Seeded by the system when a process starts, and again in one that is forked. What comes from it is
# unique, but no secret.
_numbers = random.Random()
os.register_at_fork(after_in_child=_numbers.seed)


def new_uuid() -> str:
    """Return 128 bits in the form of a UUID."""
    digits = f"{_numbers.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_seed() -> int:
    """Return what `x-raysys-seed` may be: 0 to 2^63 - 1."""
    return _numbers.getrandbits(63)
