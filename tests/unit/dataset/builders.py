"""Datasets as an import leaves them, written by hand."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raysys import tables
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.selection import Total
from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import sha256_of_file, sha256_of_texts
from raysys.logs.manifest import FORMAT_VERSION
from raysys.lookup import RowLookup

Part = TypeVar("Part")
Value = TypeVar("Value")

Row = tuple[str, str, int]
"""User, item, and microseconds since 1970."""
TypedRow = tuple[str, str, int, str | None]
"""And the type of the event."""
DeviceRow = tuple[str, str, int, str | None, str | None]
"""And the device, a column beside those of every log."""


def interactions(rows: Sequence[Row | TypedRow | DeviceRow]) -> pa.Table:
    users, items, times, types, devices = ([] for _ in range(5))
    for user, item, time, *more in rows:
        users.append(user)
        items.append(item)
        times.append(time)
        types.append(more[0] if more else None)
        devices.extend(more[1:])
    nothing = [None] * len(rows)
    table = pa.Table.from_arrays(
        [
            pa.array(users, pa.string()),
            pa.array(items, pa.string()),
            pa.array(times, pa.int64()).cast(tables.TIMESTAMP),
            pa.array(types, pa.string()),
            pa.array(nothing, pa.float64()),
            pa.array(nothing, pa.string()),
            pa.array([0] * len(rows), pa.int32()),
            pa.array(range(1, len(rows) + 1), pa.int64()),
        ],
        schema=tables.INTERACTIONS,
    )
    if not devices:
        return table
    return table.append_column("device", pa.array(devices, pa.string()))


def numbered(ids: Iterable[str]) -> Vocabulary:
    """Return a vocabulary that numbers distinct ids in the order in which they are given."""
    texts = pa.array(list(ids), pa.string())
    return Vocabulary(texts, sha256_of_texts(texts.to_pylist()), RowLookup.build(texts))


def extended(vocabulary: Vocabulary, ids: Iterable[str]) -> Vocabulary:
    """Return what an import makes that goes on from a vocabulary: its ids, then the new ones."""
    known = vocabulary.ids.to_pylist()
    return numbered([*known, *sorted(set(ids) - set(known))])


def write_dataset(
    path: Path,
    shards: Sequence[Sequence[Row | TypedRow | DeviceRow]],
    items: pa.Table | None = None,
    users: pa.Table | None = None,
    **manifest: object,
) -> Path:
    """Write one shard for each list of rows, in its order; `manifest` replaces what it says."""
    folder = path / "import-1"
    (folder / "interactions").mkdir(parents=True)
    for number, rows in enumerate(shards):
        pq.write_table(interactions(rows), folder / f"interactions/shard-{number:05d}.parquet")
    if items is not None:
        pq.write_table(items, folder / "items.parquet")
    if users is not None:
        pq.write_table(users, folder / "users.parquet")
    rows = [row for shard in shards for row in shard]
    times = [datetime.fromtimestamp(row[2] / 1e6, UTC) for row in rows]
    (folder / "vocabulary").mkdir()
    Vocabulary.from_ids(row[1] for row in rows).save(folder / "vocabulary/items.arrow")
    Vocabulary.from_ids(row[0] for row in rows).save(folder / "vocabulary/users.arrow")
    written = {
        "format_version": FORMAT_VERSION,
        "import_id": "import-1",
        "created_at": datetime.now(UTC).isoformat(),
        "sources": [],
        "num_shards": len(shards),
        "rows_in": len(rows),
        "rows_accepted": len(rows),
        "rows_quarantined": 0,
        "rows_duplicate": 0,
        "quarantined_by_reason": {},
        "notices": [],
        "num_users": len({row[0] for row in rows}),
        "num_items": len({row[1] for row in rows}),
        "first_occurred_at": min(times).isoformat(),
        "last_occurred_at": max(times).isoformat(),
        "files": {
            str(file.relative_to(path)): {
                "num_bytes": file.stat().st_size,
                "sha256": sha256_of_file(file),
            }
            for file in folder.rglob("*.*")
        },
        "items_file": None if items is None else "import-1/items.parquet",
        "users_file": None if users is None else "import-1/users.parquet",
        "vocabulary": {kind: f"import-1/vocabulary/{kind}.arrow" for kind in ("items", "users")},
    }
    (path / "manifest.json").write_text(json.dumps({**written, **manifest}))
    return path


def concatenated(parts: Sequence[Histories]) -> Histories:
    """Return the users of all parts, which share none, ordered by user id; all in memory."""
    none = Histories.from_lists([], [], [])
    weights = [part.weights for part in parts if part.weights is not None]
    types = [part.event_types for part in parts if part.event_types is not None]
    contexts = [part.contexts for part in parts if part.contexts is not None]
    joined = Histories(
        pa.concat_arrays([none.user_ids, *(part.user_ids for part in parts)]),
        offsets_of(np.concatenate([none.lengths, *(part.lengths for part in parts)])),
        np.concatenate([none.item_nums, *(part.item_nums for part in parts)]),
        np.concatenate([none.occurred_at_us, *(part.occurred_at_us for part in parts)]),
        parts[0].vocabulary_hash if parts else "",
        weights=np.concatenate(weights) if weights else None,
        event_types=np.concatenate(types) if types else None,
        contexts=np.concatenate(contexts) if contexts else None,
    )
    return joined.take(pc.sort_indices(joined.user_ids).to_numpy())


def together(action: Callable[[Part, Total], Value], parts: Sequence[Part]) -> list[Value]:
    """Call the action once per part, in a thread each, with a `Total` that adds up over them."""
    barrier = Barrier(len(parts), timeout=30)
    counts: dict[int, NDArray[np.int64]] = {}

    def run(holder: int) -> Value:
        def total(own: NDArray[np.int64]) -> NDArray[np.int64]:
            counts[holder] = own
            barrier.wait()
            added = np.sum([counts[each] for each in range(len(parts))], axis=0)
            barrier.wait()
            return added

        return action(parts[holder], total)

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(run, range(len(parts))))
