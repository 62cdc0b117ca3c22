"""What was put of one shard's items since its release was built, ready to be searched.

Items that the release does not know have a vector here, from what is known of them. An item of the
release that is put again keeps the vector that the model learnt: what people did with it says more
of it than its metadata, and queries were learnt against that very vector. What was put of it counts
in filters and answers; the next release learns from both. Only an item of the release that nobody
had interacted with has a vector here as well, which stands for the one in the index: that one was
made of what was known of it then.

A delta is a small exact partition whose item numbers are the places of its keys, counted from 1, so
that it is searched by the same code as the index.

Letters for shapes:
    B  queries    n  items of the delta    r  those of them that the release knows
    D  width of an embedding    K  results of a query
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK, catalogue_log_sum_exp
from raysys.index.home import Home
from raysys.index.partition import Partition, of_length_one
from raysys.index.put_items import NOTHING_PUT, PutItems
from raysys.state.items import Changes


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """An immutable snapshot; another object stands for other items."""

    put: PutItems
    """Those of the shard."""
    keys: NDArray[np.int64]
    """(n,) ascending, hidden ones too: below 0 of all that the release does not know, and the
    numbers of those that nobody had interacted with."""
    partition: Partition
    """Their vectors, in the same order."""
    replaced: NDArray[np.float32]
    """(r, D) the vectors in the index that do not count any more, in any order."""

    @classmethod
    def empty(cls, embedding_dim: int) -> "Delta":
        """Return that of a release since which nothing was put."""
        vectors = np.zeros((0, embedding_dim), np.float32)
        return cls(NOTHING_PUT, np.zeros(0, np.int64), _partition(vectors), vectors)

    def __len__(self) -> int:
        return len(self.keys)

    def with_changes(self, changes: Changes, home: Home) -> "Delta":
        """Return the delta after what changed among the shard's items, or this one."""
        put = self.put.with_changes(changes, home.vocabulary)
        if put is self.put:
            return self
        changed = np.unique(home.keys_of([item.item_id for item in changes.items]))
        entering = changed[home.have_vectors_of_puts(changed)]
        if not len(entering):
            return replace(self, put=put)
        said = [item.properties for key in entering.tolist() if (item := put.of(key)) is not None]
        added = home.vectors_of(said)
        stays = ~np.isin(self.keys, entering)
        keys = np.concatenate([self.keys[stays], entering])
        order = np.argsort(keys)
        vectors = np.concatenate([self.partition.vectors[stays], added])[order]
        replaced = self.replaced
        if (entering > 0).any():
            found = home.released_vectors_of(keys[keys > 0])
            replaced = replaced if found is None else found
        return Delta(put, keys[order], _partition(vectors), replaced)

    @property
    def released_keys(self) -> NDArray[np.int64]:
        """Numbers of the items that the release knows, (r,): what the index has of them is void."""
        return self.keys[np.searchsorted(self.keys, 0) :]

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None = None,
        allowed: NDArray[np.bool_] | None = None,
        *,
        by_cosine: bool = False,
    ) -> TopK:
        """Return, by places, the k best items for each query, as `Shard.search` does."""
        if by_cosine:
            return self.partition.search_by_cosine(of_length_one(queries), k, excluded, allowed)
        return self.partition.search_exactly(queries, k, excluded, allowed)

    def rank(
        self, queries: NDArray[np.float32], k: int, items: ItemLists, *, by_cosine: bool
    ) -> TopK:
        """Return, by places, the best of the items that each query names by their places."""
        asked = of_length_one(queries) if by_cosine else queries
        return self.partition.rank(asked, k, items, by_cosine=by_cosine)

    def log_sum_exp(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log(sum(exp(score))) over all items of the delta, (B,)."""
        return catalogue_log_sum_exp(queries, self.partition.vectors)

    def totals_with(
        self, released: NDArray[np.float64], queries: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return log(sum(exp(score))) over index and delta, (B,), from that of the index."""
        if len(self.replaced):
            lost = catalogue_log_sum_exp(queries, self.replaced)
            with np.errstate(divide="ignore"):  # where nothing else is in the index
                released = released + np.log(np.maximum(-np.expm1(lost - released), 0))
        return np.logaddexp(released, self.log_sum_exp(queries))

    def places_of(self, keys: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the place of each key, counted from 1; 0 of one that is not here."""
        if not len(self.keys):
            return np.zeros(len(keys), np.int32)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows + 1, 0).astype(np.int32)

    def keys_at(self, places: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the key at each place; 0 at 0."""
        keys: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), self.keys])[places]
        return keys

    def vectors_of(
        self, keys: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return those of the keys that are here, (M,), and their vectors, (M, D)."""
        places = self.places_of(keys)
        found = places[places > 0]
        return self.keys_at(found), self.partition.vectors[found - 1]


def _partition(vectors: NDArray[np.float32]) -> Partition:
    nums = np.arange(1, len(vectors) + 1, dtype=np.int32)
    return Partition(nums, vectors, None, obeys_selectors=False)
