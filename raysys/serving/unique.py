"""Ids and seeds that nobody else draws, many times cheaper than a system call each."""

import os
import random

# Seeded by the system when a process starts, and again in one that is forked. What comes from it is
# unique, but no secret.
_numbers = random.Random()
os.register_at_fork(after_in_child=_numbers.seed)


def new_uuid() -> str:
    """Return 128 bits in the form of a UUID."""
    return _as_text(_numbers.getrandbits(128))


def new_uuid_at(now_us: int) -> str:
    """Return a UUID of version 7 (RFC 9562): later ones are greater, to the millisecond.

    So an index of them grows at its end, where many that come together share a page.

    Args:
        now_us: microseconds since 1970 UTC.
    """
    random_bits = _numbers.getrandbits(74)
    version_and_high_bits = 7 << 12 | random_bits >> 62
    variant_and_low_bits = 2 << 62 | random_bits & (1 << 62) - 1
    return _as_text(now_us // 1000 << 80 | version_and_high_bits << 64 | variant_and_low_bits)


def new_seed() -> int:
    """Return what `x-raysys-seed` may be: 0 to 2^63 - 1."""
    return _numbers.getrandbits(63)


def _as_text(bits: int) -> str:
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
