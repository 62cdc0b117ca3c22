"""What raysys has to know about the kinds of index that FAISS can make.

Which kinds obey selectors is not read from a table, which would age: FAISS raises for some kinds,
ignores the selector in others, and this changes with its version. `obeys_selectors` tries it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raysys.errors import ConfigError

_HNSW_EF_SEARCH = 128  # FAISS's 16 finds about half of the 100 best
_PROBED_LISTS_SHARE = 8  # one in 8 of the lists of an inverted file; FAISS's default is one list


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
            index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip()
        raise ConfigError(
            f"FAISS cannot build index.factory {factory!r} for inner products from {num_vectors} "
            f"vectors of width {dim}: {reason}. Use a kind that needs fewer vectors, a smaller "
            f"index.num_partitions, or Flat, which always works."
        ) from error
    _search_thoroughly(index)
    return index


def is_exact(index: Any) -> bool:
    """Say whether the index holds every vector as it is and compares with all of them."""
    return isinstance(faiss.downcast_index(index), faiss.IndexFlat)


def flat_vectors(index: Any) -> NDArray[np.float32]:
    """Return the (n, D) vectors of an exact index, not copied: they live as long as the index."""
    flat = faiss.downcast_index(index)
    if not flat.ntotal:
        return np.zeros((0, flat.d), np.float32)
    vectors: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return vectors.reshape(flat.ntotal, flat.d)


def search_without(
    index: Any,
    query: NDArray[np.float32],
    k: int,
    rows: NDArray[np.int64],
    among: Any = None,
) -> NDArray[np.int64]:
    """Return the rows, (k,), that an obedient index finds for a (D,) query outside of `rows`.

    Args:
        among: what `selector_of` made: no others are found. None: all may be.
    """
    if not len(rows) and among is None:
        found: NDArray[np.int64] = index.search(query[None, :], k)[1][0]
        return found
    selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(rows)) if len(rows) else among
    if len(rows) and among is not None:
        selector = faiss.IDSelectorAnd(among, selector)
    found = index.search(query[None, :], k, params=_parameters(index, selector))[1][0]
    return found


def selector_of(allowed: NDArray[np.bool_]) -> Any:
    """Return what lets a search find none but the rows that are marked, (n,)."""
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def obeys_selectors(index: Any, query: NDArray[np.float32]) -> bool:
    """Try whether the index can leave out rows while it searches for a (D,) query."""
    k = min(5, index.ntotal // 2)
    if not k:
        return False
    best = index.search(query[None, :], k)[1][0]
    best = best[best >= 0]
    try:
        others = search_without(index, query, k, best)
    except (RuntimeError, TypeError):
        return False
    return bool(len(best)) and not np.isin(others, best).any()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS use one thread inside: a single query is not worth waking others up for."""
    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread only, as OpenMP has it
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num_threads)


def _parameters(index: Any, selector: Any) -> Any:
    """Return search parameters with a selector, as the index and what it wraps want them."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(index.base_index, selector)
        return faiss.IndexRefineSearchParameters(
            base_index_params=inner, k_factor=float(index.k_factor)
        )
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return faiss.SearchParameters(sel=selector)


def _search_thoroughly(index: Any) -> None:
    """Set how much of an approximate index a search looks at. FAISS saves it with the index."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        _search_thoroughly(index.index)
    elif isinstance(index, faiss.IndexRefine):
        index.k_factor = 4.0
        _search_thoroughly(index.base_index)
    elif isinstance(index, faiss.IndexIVF):
        index.nprobe = max(1, -(-index.nlist // _PROBED_LISTS_SHARE))
    elif isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = _HNSW_EF_SEARCH
