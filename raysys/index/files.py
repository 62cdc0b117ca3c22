"""The `index` directory of a release: names of its files, and the note that describes them.

index/index.json                    IndexNote: kind, sizes, vocabulary, recall, effort
index/partition-00000.faiss         vectors of one partition, searchable
index/partition-00000.nums.npy      (n,) int32 item numbers of its rows, ascending
index/partition-00000.vectors.npy   (n, D) float32, only where FAISS keeps no exact copy
"""

from pydantic import BaseModel, ConfigDict, Field

from raysys.config.base import Share
from raysys.index.effort import Effort

DIRECTORY = "index"
NOTE_NAME = "index.json"


class IndexNote(BaseModel):
    """What was built, and how well it finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factory: str
    why: str
    """Why it is this kind, and what was tried before it."""
    vocabulary: str
    """Hash of the item vocabulary whose numbers the partitions hold."""
    num_items: int = Field(ge=0)
    num_partitions: int = Field(ge=1)
    embedding_dim: int = Field(ge=1)
    is_exact: bool
    """Every list is the true one, so scores can be turned into probabilities over the catalogue."""
    keeps_vectors: bool
    """FAISS's files hold every vector as it is, so that there are no `vectors.npy`."""
    supports_selectors: bool
    """FAISS leaves rows out by itself while it searches; otherwise more is fetched than needed."""
    effort: Effort = Effort()
    """What searches are told: the cheapest that reached `index.min_recall`."""
    index_recall_at_10: Share = 1.0
    """Mean share of the true 10 best that are found, over the whole catalogue; 1 when exact."""
    index_recall_at_100: Share = 1.0
    num_measured_queries: int = Field(0, ge=0)
    """Queries behind the recalls, none of which chose the effort; 0 when exact."""
    queries_per_s: float = Field(ge=0)
    """Of one core of the machine that built it, in batches of 64 for 100 items each."""
    bytes_per_item: float = Field(ge=0)
    """Of all files on disk."""
    build_seconds: float = Field(ge=0)

    def summary(self) -> str:
        """Return one line for a terminal."""
        found = "exact"
        if not self.is_exact:
            found = (
                f"recall@10 {self.index_recall_at_10:.3f}, @100 {self.index_recall_at_100:.3f} "
                f"({self.effort})"
            )
        return (
            f"{self.factory}, {found}, {self.queries_per_s:,.0f} queries/s of one core, "
            f"{self.bytes_per_item:,.0f} bytes per item, built in {self.build_seconds:.1f} s"
        )


def searchable_name(partition: int) -> str:
    return f"partition-{partition:05d}.faiss"


def nums_name(partition: int) -> str:
    return f"partition-{partition:05d}.nums.npy"


def vectors_name(partition: int) -> str:
    return f"partition-{partition:05d}.vectors.npy"


def partition_names(partition: int, *, keeps_vectors: bool) -> list[str]:
    """Return the names of all files of one partition."""
    names = [searchable_name(partition), nums_name(partition)]
    return names if keeps_vectors else [*names, vectors_name(partition)]


def partitions_of_shard(shard: int, num_shards: int, num_partitions: int) -> list[int]:
    """Return the partitions p with p mod num_shards = shard."""
    return list(range(shard, num_partitions, num_shards))
