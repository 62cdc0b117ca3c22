"""Sentence vectors that were worked out once are kept, so that a table is soon read again.

DIR/MODEL/
    HASH/vectors.arrow    texts' hashes, ascending, and their vectors; never changed, one for each
                          reading that met texts unknown before

A vector takes some 10 ms of CPU time and 1.5 kB. Texts themselves are not kept. Whoever finds the
directory read-only, or a file of it broken, works the vectors out anew.

Letters for shapes:
    N  texts    K  texts of one file    D  width of a vector
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import arrow_file, storage
from raysys.dataset.sentences import WIDTH, sentence_model
from raysys.errors import DatasetError
from raysys.hashing import sha256_of_texts, stable_hashes

DIRECTORY = "RAYSYS_CACHE"
"""The environment variable that names another directory than `~/.cache/raysys`."""

_FILE = "vectors.arrow"
_KIND = "sentence vectors"
_SCHEMA = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),  # two texts of a million share one: 3e-8
        pa.field(
            "vector",
            pa.list_(pa.field("item", pa.float32(), nullable=False), WIDTH),
            nullable=False,
        ),
    ]
)


def kept_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors of texts, (N, D), and keep those that were not kept yet.

    The bits are those of `SentenceModel.vectors`.

    Raises:
        ConfigError: the extra `[text]` is not installed.
    """
    model = sentence_model()
    directory = _root() / "sentences" / model.name
    hashes, firsts, places = np.unique(stable_hashes(texts), return_index=True, return_inverse=True)
    vectors, is_known = _found(directory, hashes)
    missing = np.flatnonzero(~is_known)
    if len(missing):
        vectors[missing] = model.vectors([texts[first] for first in firsts[missing]])
        _keep(directory, hashes[missing], vectors[missing])
    return vectors[places]


def _root() -> Path:
    named = os.environ.get(DIRECTORY)
    return Path(named) if named else Path.home() / ".cache" / "raysys"


def _found(
    directory: Path, hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors of ascending hashes, (N, D), and which of them are kept, (N,)."""
    vectors = np.empty((len(hashes), WIDTH), np.float32)
    is_known = np.zeros(len(hashes), bool)
    for path in sorted(directory.glob(f"[!.]*/{_FILE}")):
        try:
            batch, _ = arrow_file.open(path, _KIND, _SCHEMA)
        except DatasetError:
            continue
        of_file = batch.column(0).to_numpy()  # (K,)
        rows = batch.column(1).values.to_numpy().reshape(-1, WIDTH)
        places = np.minimum(np.searchsorted(of_file, hashes), len(of_file) - 1)
        is_here = of_file[places] == hashes
        vectors[is_here] = rows[places[is_here]]
        is_known |= is_here
    return vectors, is_known


def _keep(directory: Path, hashes: NDArray[np.uint64], vectors: NDArray[np.float32]) -> None:
    columns = [pa.array(hashes), pa.FixedSizeListArray.from_arrays(vectors.ravel(), WIDTH)]
    columns[1] = columns[1].cast(_SCHEMA.field(1).type)
    path = directory / sha256_of_texts(map(str, hashes.tolist()))[:16]
    try:
        staging = storage.staging_directory(path)
        arrow_file.save(staging / _FILE, _KIND, _SCHEMA, columns)
        storage.publish_directory(staging, path)
    except OSError:
        return  # they are worked out again next time
