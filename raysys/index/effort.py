"""How thoroughly an approximate index is searched, and the cheapest way that is thorough enough.

Three settings decide how much of an index a search looks at: `nprobe` lists of an inverted file,
`ef_search` places in the queue of a graph (HNSW), and `k_factor`, how many times as many items as
were asked for are fetched by compressed scores to be ranked by exact ones.

Letters for shapes:
    n  rows of one partition
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

_K_FACTORS = (1, 2, 4, 8, 16)
_EF_SEARCHES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# In comparisons of one code, measured with IVF1024,PQ64x4fs on 100,000 x 64: one more item to be
# scored exactly takes 0.3 us, one more code 10 ns.
_COST_OF_RESCORING = 30
_COST_OF_A_STEP = 32  # of a graph: it looks at about that many neighbours


class Effort(BaseModel):
    """What a search is told; None where the kind has no such setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nprobe: int | None = Field(None, ge=1)
    ef_search: int | None = Field(None, ge=1)
    k_factor: int = Field(1, ge=1)

    def __str__(self) -> str:
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return ", ".join(f"{name} {value}" for name, value in given.items())


@dataclass(frozen=True, slots=True)
class Knobs:
    """Which settings a kind has. An index of several partitions has one effort for them all."""

    num_lists: int = 0
    """Of an inverted file; 0: it is none."""
    is_graph: bool = False
    scores_exactly: bool = False
    """FAISS itself compares with vectors as they are, so nothing more need be fetched."""

    def efforts(self) -> Iterator[list[Effort]]:
        """Give, for each `k_factor`, every effort from the least to the most thorough."""
        for k_factor in _K_FACTORS[:1] if self.scores_exactly else _K_FACTORS:
            if self.num_lists:
                counts = _counts_to(self.num_lists)
                yield [Effort(nprobe=count, k_factor=k_factor) for count in counts]
            elif self.is_graph:
                yield [Effort(ef_search=size, k_factor=k_factor) for size in _EF_SEARCHES]
            else:
                yield [Effort(k_factor=k_factor)]

    def most(self) -> Effort:
        """Return the most thorough effort that is ever tried."""
        return list(self.efforts())[-1][-1]

    def cost(self, effort: Effort, num_rows: int, k: int) -> float:
        """Return about how many codes a query for k items compares in a partition of n rows.

        A formula and not a clock, so that the same vectors always get the same effort.
        """
        cost = float(_COST_OF_RESCORING * k * effort.k_factor)
        if effort.nprobe is not None:
            return cost + num_rows * effort.nprobe / self.num_lists
        if effort.ef_search is not None:
            return cost + _COST_OF_A_STEP * max(effort.ef_search, k * effort.k_factor)
        return cost + num_rows


def cheapest(
    knobs: Knobs, is_enough: Callable[[Effort], bool], *, num_rows: int, k: int
) -> list[Effort]:
    """Return the efforts that are enough, the cheapest first; empty where none is.

    `is_enough` is taken to stay true as either setting grows, so that few efforts need be tried.
    """
    found: list[Effort] = []
    first: int | None = None  # place of the least effort that is known to be enough
    for efforts in knobs.efforts():
        first = _first(efforts, is_enough, first)
        if first is not None:
            found += efforts[first:]
    return sorted(found, key=lambda effort: knobs.cost(effort, num_rows, k))


def _first(
    efforts: Sequence[Effort], is_enough: Callable[[Effort], bool], known: int | None
) -> int | None:
    """Return the place of the first effort that is enough, at most `known`; None if none is."""
    if known is None:
        known = len(efforts) - 1
        if not is_enough(efforts[known]):
            return None
    low, high = 0, known
    while low < high:
        middle = (low + high) // 2
        if is_enough(efforts[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def _counts_to(most: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, ... and `most`."""
    counts = {most}
    power = 1
    while power < most:
        counts |= {power, min(most, power + power // 2)}
        power *= 2
    return sorted(counts)
