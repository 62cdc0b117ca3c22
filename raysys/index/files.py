"""The `index` directory of a release: names of its files, and the note that describes them.

index/index.json                    IndexNote: kind, sizes, vocabulary, recall
index/partition-00000.faiss         vectors of one partition, searchable
index/partition-00000.nums.npy      (n,) int32 item numbers of its rows, ascending
index/partition-00000.vectors.npy   (n, D) float32, only where FAISS keeps no exact copy
"""

from pydantic import BaseModel, ConfigDict, Field

DIRECTORY = "index"
NOTE_NAME = "index.json"


class IndexNote(BaseModel):
    """What was built, and how well it finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factory: str
    vocabulary: str
    """Hash of the item vocabulary whose numbers the partitions hold."""
    num_items: int = Field(ge=0)
    num_partitions: int = Field(ge=1)
    embedding_dim: int = Field(ge=1)
    is_exact: bool
    """Every list is the true one, so scores can be turned into probabilities over the catalogue."""
    supports_selectors: bool
    """FAISS leaves rows out by itself while it searches; otherwise more is fetched than needed."""
    index_recall_at_10: float = Field(ge=0, le=1)
    """Mean share of the true 10 best that are found, over the whole catalogue; 1 when exact."""
    index_recall_at_100: float = Field(ge=0, le=1)


def searchable_name(partition: int) -> str:
    return f"partition-{partition:05d}.faiss"


def nums_name(partition: int) -> str:
    return f"partition-{partition:05d}.nums.npy"


def vectors_name(partition: int) -> str:
    return f"partition-{partition:05d}.vectors.npy"


def partition_names(partition: int, *, is_exact: bool) -> list[str]:
    """Return the names of all files of one partition."""
    names = [searchable_name(partition), nums_name(partition)]
    return names if is_exact else [*names, vectors_name(partition)]


def partitions_of_shard(shard: int, num_shards: int, num_partitions: int) -> list[int]:
    """Return the partitions p with p mod num_shards = shard."""
    return list(range(shard, num_partitions, num_shards))
