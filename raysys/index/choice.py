"""Which kind of index suits a catalogue: what `index.factory: auto` stands for.

Measured with `make bench-index` (docs/index.md has the table).
"""

import math
from dataclasses import dataclass

from raysys.config import IndexConfig

AUTO = "auto"
FLAT = "Flat"

# Up to this many numbers (items x width) exact search takes less than about 1 ms of a core per
# query, and every list is the true one.
_EXACT_UP_TO = 50_000 * 64
# Up to this many items per partition a graph finds more, and about as fast: searched alone for 100
# items, a partition of 25,000 x 64 gave recall@100 0.990 at 7,500 queries/s, where lists of 4 bits
# gave 0.984 at 6,000; one of 100,000 x 64 gave 0.972 at 3,400 against 0.973 at 7,000.
_GRAPH_UP_TO = 50_000
_LINKS_BYTES = 2 * 32 * 4 + 20  # of HNSW32: the lowest level's, and a share of the others'
_ROW_BYTES = 8  # FAISS's number of a row in an inverted file
_GIB = float(1 << 30)


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of index, and why it was chosen: a sentence with the numbers."""

    factory: str
    why: str


def choices(num_items: int, width: int, config: IndexConfig) -> list[Choice]:
    """Return the kinds to try, best first. One that misses `min_recall` gives way to the next.

    The last of `auto` is `Flat`, which cannot miss. A kind that the settings name is tried alone.
    """
    if config.factory != AUTO:
        return [Choice(config.factory, "index.factory names it")]
    if config.device == "gpu":
        return [Choice(FLAT, "shards with a GPU search exactly, whatever the kind")]
    size = f"{num_items:,} items x {width}"
    if num_items * width <= _EXACT_UP_TO:
        most = f"{_EXACT_UP_TO // width:,}"
        return [Choice(FLAT, f"{size}: up to {most} items of this width exact search is fast")]
    return [*_approximate(num_items, width, config), Choice(FLAT, f"{size}: the kind that is left")]


def _approximate(num_items: int, width: int, config: IndexConfig) -> list[Choice]:
    """Return the approximate kinds, best first: what fits the memory before what does not."""
    lists = num_lists(num_items, config.num_partitions)
    # Of an item, while it is searched. The exact copies that compressed and listed vectors are
    # ranked by stay on disk, but for the pages that searches touch.
    graph = ("HNSW32", width * 4 + _LINKS_BYTES, "a graph finds most")
    listed = (f"IVF{lists},Flat", width * 4 + _ROW_BYTES, "lists of vectors as they are")
    packed = (f"IVF{lists},PQ{width}x4fs", width // 2 + _ROW_BYTES, "lists of 4 bits per number")
    per_partition = num_items / config.num_partitions
    by_speed = [graph, listed, packed] if per_partition <= _GRAPH_UP_TO else [packed, listed, graph]
    size = f"{num_items:,} items x {width}, {per_partition:,.0f} per partition"
    fitting: list[Choice] = []
    others: list[Choice] = []
    for factory, num_bytes, what in by_speed:
        gib = num_items * num_bytes / _GIB
        fits = gib <= config.memory_gib
        verb = "within" if fits else "above"
        why = f"{size}: {what}, {gib:.3g} GiB, {verb} index.memory_gib {config.memory_gib:g}"
        (fitting if fits else others).append(Choice(factory, why))
    return fitting + others


def num_lists(num_items: int, num_partitions: int) -> int:
    """Return a power of two near twice the root of a partition's items.

    FAISS's guidelines say 4 to 16 times the root; k-means then takes 4 to 64 times as long, and
    searches were no faster on 250,000 x 64.
    """
    root = math.sqrt(num_items / num_partitions)
    return 1 << max(2, round(math.log2(max(2 * root, 1))))
