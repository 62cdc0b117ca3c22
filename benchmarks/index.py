"""Approximate search against exact search, both as shards do it. Run: make bench-index

Items and queries of `benchmarks/clustered_vectors.py`; one shard of all partitions; batches of 64
queries for 100 items each; every query excludes 100 seen items, half of them from among its 300
best, as histories do. Processor seconds of one thread are counted, so that other work on the
machine matters little. The queries that measure are none of those that the build was given.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from clustered_vectors import ClusteredVectors
from numpy.typing import NDArray

from raysys.config import IndexConfig
from raysys.evaluation.exclusion import Exclusions
from raysys.index import kinds
from raysys.index.build import build_partitions
from raysys.index.files import IndexNote, partition_names
from raysys.index.shard import Shard, open_partitions

K = 100
BATCH = 64
NUM_SEEN = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--factory", default="auto")
    parser.add_argument("--min-recall", type=float, default=0.95)
    parser.add_argument("--memory-gib", type=float, default=8.0)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument(
        "--growth", default="10000", help="other sizes, with commas: time per query against --items"
    )
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load is not None:
        print(json.dumps(growth_of_memory(arguments.load)))
        return
    sizes = [int(size) for size in arguments.growth.split(",") if size]
    with tempfile.TemporaryDirectory() as scratch, kinds.one_thread():
        result = compared(Path(scratch) / "main", arguments, arguments.items, against_flat=True)
        grown = {str(size): compared(Path(scratch) / str(size), arguments, size) for size in sizes}
    result["ms_per_query_by_items"] = {
        size: each["ms_per_query"] for size, each in grown.items()
    } | {str(arguments.items): result["ms_per_query"]}
    result["load_average"] = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps({"benchmark": "index", **result}))


def compared(
    directory: Path, arguments: argparse.Namespace, num_items: int, *, against_flat: bool = False
) -> dict[str, object]:
    """Build the index that was asked for, and measure it."""
    world = ClusteredVectors(arguments.width)
    items, queries = world.items(num_items), world.queries(1_024 + BATCH * arguments.batches)
    ids = [f"item-{number}" for number in range(num_items)]
    config = IndexConfig(
        factory=arguments.factory,
        num_partitions=arguments.partitions,
        min_recall=arguments.min_recall,
        memory_gib=arguments.memory_gib,
    )
    started = time.process_time()
    note = build_partitions(directory, items, ids, config, "bench", queries=queries[:1_024])
    build_cpu_s = time.process_time() - started
    print(f"{note.why}\n{note.summary()}", file=sys.stderr, flush=True)
    shard = open_partitions(directory, range(note.num_partitions), note)
    seen = seen_items(queries[1_024:], items)
    seconds, found = searched(shard, queries[1_024:], seen)
    result: dict[str, object] = {
        "items": num_items,
        "width": arguments.width,
        "factory": note.factory,
        "effort": str(note.effort),
        "index_recall_at_10": round(note.index_recall_at_10, 4),
        "index_recall_at_100": round(note.index_recall_at_100, 4),
        "ms_per_query": round(1_000 * seconds / len(found), 3),
        "queries_per_s": round(len(found) / seconds),
        "bytes_per_item": round(note.bytes_per_item),
        "build_cpu_s": round(build_cpu_s, 1),
    }
    if against_flat:
        result |= loaded(directory, note)
        exact = IndexConfig(factory="Flat", num_partitions=arguments.partitions)
        flat_note = build_partitions(directory / "flat", items, ids, exact, "bench")
        flat = open_partitions(directory / "flat", range(exact.num_partitions), flat_note)
        flat_seconds, true = searched(flat, queries[1_024:], seen)
        again, _ = searched(shard, queries[1_024:], seen)
        shares = [len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)]
        result |= {
            "recall_at_100_seen_excluded": round(float(np.mean(shares)), 4),
            "flat_queries_per_s": round(len(found) / flat_seconds, 1),
            "times_flat": round(2 * flat_seconds / (seconds + again), 2),
        }
    return result


def seen_items(queries: NDArray[np.float32], items: NDArray[np.float32]) -> Exclusions:
    """Return 50 of the 300 best items of each query and 50 others, item numbers."""
    rng = np.random.default_rng(3)
    lists = []
    for query in queries:
        best = np.argpartition(-(items @ query), 300)[:300]
        known = rng.choice(best, NUM_SEEN // 2, replace=False)
        lists.append(np.union1d(known, rng.integers(0, len(items), NUM_SEEN // 2)) + 1)
    return Exclusions.from_lists(lists)


def searched(
    shard: Shard, queries: NDArray[np.float32], seen: Exclusions
) -> tuple[float, NDArray[np.int32]]:
    """Return the processor seconds of a second pass over all queries, and the lists."""
    passes = []
    for _ in range(2):
        started, lists = time.thread_time(), []
        for start in range(0, len(queries), BATCH):
            rows = np.arange(start, start + BATCH)
            excluded = Exclusions.of_rows(seen, rows)
            lists.append(shard.search(queries[rows], K, excluded).item_nums)
        passes.append(time.thread_time() - started)
    return passes[-1], np.concatenate(lists)


def loaded(directory: Path, note: IndexNote) -> dict[str, float]:
    """Load the index in a process of its own, and return how much that process has grown."""
    command = [sys.executable, __file__, "--load", str(directory)]
    grown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    names = [
        name
        for number in range(note.num_partitions)
        for name in partition_names(number, keeps_vectors=note.keeps_vectors)
    ]
    size = sum((directory / name).stat().st_size for name in names)
    return {
        "pss_growth_of_index_files": round(grown["loaded"] / size, 3),
        "pss_growth_after_256_queries": round(grown["searched"] / size, 3),
    }


def growth_of_memory(directory: Path) -> dict[str, int]:
    """Return by how many bytes the proportional set size grows by loading, and by searching."""
    note = IndexNote.model_validate_json((directory / "index.json").read_bytes())
    queries = ClusteredVectors(note.embedding_dim).queries(256)
    before = proportional_set_size()
    shard = open_partitions(directory, range(note.num_partitions), note)
    opened = proportional_set_size()
    with kinds.one_thread():
        shard.search(queries, K)
    return {"loaded": opened - before, "searched": proportional_set_size() - before}


def proportional_set_size() -> int:
    """Return the bytes of memory of this process; what it shares counts in part."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1_024
    raise RuntimeError("/proc/self/smaps_rollup states no Pss")


if __name__ == "__main__":
    main()
