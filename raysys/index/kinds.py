"""What raysys has to know about the kinds of index that FAISS can make.

Which kinds obey selectors is not read from a table, which would age: FAISS raises for some kinds,
ignores the selector in others, and this changes with its version. `obeys_selectors` tries it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raysys.errors import ConfigError
from raysys.index.effort import Effort, Knobs

_ITERATIONS = 10  # of k-means; FAISS's 25 gave the same recall on 250,000 x 64
_POINTS_PER_LIST = 64  # that k-means looks at; FAISS looks at 256


def make_index(factory: str, vectors: NDArray[np.float32]) -> Any:
    """Return a FAISS index for inner products, trained on and filled with (n, D) vectors.

    Raises:
        ConfigError: FAISS does not know the factory string, or cannot build it from these vectors.
    """
    num_vectors, dim = vectors.shape
    if "IDMap" in factory:
        raise ConfigError(
            f"index.factory {factory!r} names IDMap, but raysys keeps the item numbers itself. "
            f"Leave IDMap out."
        )
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            _train_fast(index)
            index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip()
        raise ConfigError(
            f"FAISS cannot build index.factory {factory!r} for inner products from {num_vectors} "
            f"vectors of width {dim}: {reason}. Use a kind that needs fewer vectors, a smaller "
            f"index.num_partitions, or Flat, which always works."
        ) from error
    return index


def is_exact(index: Any) -> bool:
    """Say whether the index holds every vector as it is and compares with all of them."""
    return isinstance(faiss.downcast_index(index), faiss.IndexFlat)


def keeps_vectors(index: Any) -> bool:
    """Say whether the index holds its vectors as they are, one after the other."""
    return isinstance(_storage(index), faiss.IndexFlat)


def flat_vectors(index: Any) -> NDArray[np.float32]:
    """Return the (n, D) vectors that an index keeps, not copied: they live as long as the index."""
    flat = _storage(index)
    if not flat.ntotal:
        return np.zeros((0, flat.d), np.float32)
    vectors: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return vectors.reshape(flat.ntotal, flat.d)


def knobs(index: Any) -> Knobs:
    """Return the settings of a search that this kind has."""
    outer = faiss.downcast_index(index)
    inner = _inner(index)
    scores_exactly = outer is inner and (
        keeps_vectors(index) or isinstance(inner, faiss.IndexIVFFlat)
    )
    return Knobs(
        num_lists=inner.nlist if isinstance(inner, faiss.IndexIVF) else 0,
        is_graph=isinstance(inner, faiss.IndexHNSW),
        scores_exactly=scores_exactly,
    )


def set_effort(index: Any, effort: Effort) -> None:
    """Tell an index how thoroughly to search from now on."""
    inner = _inner(index)
    if effort.nprobe is not None and isinstance(inner, faiss.IndexIVF):
        inner.nprobe = effort.nprobe
    if effort.ef_search is not None and isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch = effort.ef_search


def search(
    index: Any,
    queries: NDArray[np.float32],
    k: int,
    *,
    among: Any = None,
    thoroughness: float = 1.0,
) -> NDArray[np.int64]:
    """Return the rows, (B, k), that an index finds for (B, D) queries, best first; -1 for none.

    Args:
        among: what `selector_of` made: an obedient index finds no others. None: all may be.
        thoroughness: by how much the index's own effort is multiplied in this search.
    """
    if among is None and thoroughness <= 1:
        found: NDArray[np.int64] = index.search(queries, k)[1]
        return found
    found = index.search(queries, k, params=_parameters(index, among, thoroughness))[1]
    return found


def selector_of(allowed: NDArray[np.bool_]) -> Any:
    """Return what lets a search find none but the rows that are marked, (n,)."""
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def obeys_selectors(index: Any, query: NDArray[np.float32]) -> bool:
    """Try whether the index can leave out rows while it searches for a (D,) query."""
    k = min(5, index.ntotal // 2)
    if not k:
        return False
    best = search(index, query[None], k)[0]
    allowed = np.ones(index.ntotal, np.bool_)
    allowed[best[best >= 0]] = False
    try:
        others = search(index, query[None], k, among=selector_of(allowed))[0]
    except (RuntimeError, TypeError):
        return False
    return not allowed.all() and bool(allowed[others[others >= 0]].all())


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS use one thread inside: a single query is not worth waking others up for."""
    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread only, as OpenMP has it
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num_threads)


def _parameters(index: Any, selector: Any, thoroughness: float) -> Any:
    """Return search parameters as the index and what it wraps want them."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, selector, thoroughness)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(index.base_index, selector, thoroughness)
        return faiss.IndexRefineSearchParameters(
            base_index_params=inner, k_factor=float(index.k_factor)
        )
    if isinstance(index, faiss.IndexIVF):
        nprobe = min(index.nlist, math.ceil(index.nprobe * thoroughness))
        return faiss.SearchParametersIVF(sel=selector, nprobe=nprobe)
    if isinstance(index, faiss.IndexHNSW):
        ef_search = math.ceil(index.hnsw.efSearch * thoroughness)
        return faiss.SearchParametersHNSW(sel=selector, efSearch=ef_search)
    return faiss.SearchParameters(sel=selector) if selector is not None else None


def _inner(index: Any) -> Any:
    """Return what an index wraps, below transformations and refinements, or the index itself."""
    outer = None
    while outer is not index:
        outer = index = faiss.downcast_index(index)
        if isinstance(index, faiss.IndexPreTransform):
            index = index.index
        elif isinstance(index, faiss.IndexRefine):
            index = index.base_index
    return index


def _storage(index: Any) -> Any:
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index


def _train_fast(index: Any) -> None:
    """Let the lists of an inverted file be found by less work than FAISS would spend."""
    inner = _inner(index)
    if isinstance(inner, faiss.IndexIVF):
        inner.cp.niter = _ITERATIONS
        inner.cp.max_points_per_centroid = _POINTS_PER_LIST
