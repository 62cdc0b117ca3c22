"""Words of prose as numbers: hashes of each word and of each three characters in a row.

Words that share a stem share most of their threes, and languages without spaces between words have
threes too. All of it is vectorised over many texts; a hash depends on the word or the three
characters alone.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.hashing import splitmix64

_SPACE = 32
_BETWEEN_WORDS = r"[^\p{L}\p{M}\p{N}]+"
# Odd, so that it has an inverse modulo 2**64: a word's hash is a difference of running sums.
_BASE = 0x9E3779B97F4A7C15 | 1
_INVERSE = pow(_BASE, -1, 1 << 64)
_THREES = np.uint64(1 << 63)  # tells the hash of "cat" as three characters from that of the word


def ngrams(texts: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the distinct n-grams of texts: the row that each stands in, and its hash, (G,) each.

    Letters are compared in lower case and in one form (NFKC); what is neither letter, mark nor
    digit stands between words. A word has one n-gram for itself and one for each three characters
    of it and of the spaces around it. Rows ascend, hashes within a row too; null is a text without
    words.
    """
    words = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(texts, ""), form="NFKC"))
    words = pc.utf8_trim_whitespace(pc.replace_substring_regex(words, _BETWEEN_WORDS, " "))
    padded = [f" {each} " for each in words.to_pylist()]
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    row_of = np.repeat(np.arange(len(padded)), [len(each) for each in padded])
    is_letter = characters != _SPACE
    starts = np.flatnonzero(is_letter[1:] & ~is_letter[:-1]) + 1
    ends = np.flatnonzero(is_letter[:-1] & ~is_letter[1:]) + 1
    middles = np.flatnonzero(is_letter)
    rows = np.concatenate([row_of[starts], row_of[middles]])
    hashes = np.concatenate([_of_words(characters, starts, ends), _of_threes(characters, middles)])
    order = np.lexsort((hashes, rows))
    rows, hashes = rows[order], hashes[order]
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
    return rows[is_first], hashes[is_first]


def _of_words(
    characters: NDArray[np.uint64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return hashes of the words between starts and ends: sum_i c_i B**i, mixed."""
    powers, inverses = _powers(_BASE, len(characters)), _powers(_INVERSE, len(characters))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(characters * powers)])
    return splitmix64((sums[ends] - sums[starts]) * inverses[starts])


def _of_threes(characters: NDArray[np.uint64], middles: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return hashes of three characters around each middle; a character has 21 bits."""
    left, middle, right = (characters[middles + step] for step in (-1, 0, 1))
    return splitmix64(left | middle << np.uint64(21) | right << np.uint64(42) | _THREES)


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """Return base**0 to base**(count - 1), modulo 2**64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    powers: NDArray[np.uint64] = np.multiply.accumulate(factors)
    return powers
