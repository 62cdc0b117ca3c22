"""Because you watched: the item of a user's history that speaks most for each shown one.

Letters for shapes:
    K  items of a list    H  items of a history    D  width of an embedding
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.serving.asked import Asked
from raysys.serving.item_metadata import BECAUSE_OF
from raysys.serving.item_vectors import VectorsOf
from raysys.serving.release_parts import ReleaseParts


async def find_reasons(
    batch: Sequence[Asked],
    release: ReleaseParts,
    vectors_of: VectorsOf,
    new_ids: Mapping[int, str],
) -> None:
    """Find them for those queries that ask for them, once it is known what is shown.

    Args:
        new_ids: ids of the shown items that the release does not know, by key.
    """
    asking = [
        asked
        for asked in batch
        if BECAUSE_OF in asked.query.metadata_columns and len(asked.history)
    ]
    if not asking:
        return
    shown: list[list[int]] = [asked.to_show.keys.tolist() for asked in asking]
    histories: list[list[int]] = [asked.history.tolist() for asked in asking]
    keys = {key for some in (*shown, *histories) for key in some}
    nums = sorted(key for key in keys if key > 0)
    ids = release.items.ids_of(np.array(nums, dtype=np.int64))
    wanted = dict(zip(ids, nums, strict=True)) | {new_ids[key]: key for key in keys if key < 0}
    vectors = await vectors_of(wanted)
    for asked, some, history in zip(asking, shown, histories, strict=True):
        asked.because_of = dict(zip(some, most_alike(some, history, vectors), strict=True))


def most_alike(
    shown: Sequence[int], history: Sequence[int], vectors: Mapping[int, NDArray[np.float32]]
) -> list[int]:
    """Return for each shown item that of a history whose vector has the smallest angle to its own.

    Of equally near ones the newest counts. 0 where either side has no vector, or one of zeros.

    Args:
        shown: K keys of items.
        history: H item numbers, oldest first.
        vectors: (D,) by key.
    """
    places = [place for place, num in enumerate(shown) if _points(vectors.get(num))]
    past = [num for num in reversed(history) if _points(vectors.get(num))]
    nearest = [0] * len(shown)
    if not places or not past:
        return nearest
    cosines = (
        _directions([vectors[shown[place]] for place in places])
        @ _directions([vectors[num] for num in past]).T
    )
    for place, best in zip(places, cosines.argmax(axis=1).tolist(), strict=True):
        nearest[place] = past[best]
    return nearest


def _points(vector: NDArray[np.float32] | None) -> bool:
    return vector is not None and bool(vector.any())


def _directions(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    stacked = np.stack(vectors)
    lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
    directions: NDArray[np.float32] = stacked / lengths
    return directions
