"""One shard's fresh items, which exploration draws from: young ones of the release, and new ones.

A pool is an immutable snapshot. Whoever follows the database replaces it by `with_changes`, while
queries that hold the old one go on with it.

An item's key is its item number where the release knows it. Items that were put since have none:
theirs is below 0 and made from the hash of their id, so that all shards and gateways agree on it.

Letters for shapes:
    B  queries    n  items of the pool    D  width of an embedding
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DamagedReleaseError
from raysys.hashing import stable_hashes
from raysys.index.delta import Delta
from raysys.index.drawing import FreshItems, KeyLists, draw_candidates
from raysys.index.home import Home, Unmet, VectorSource, keys_of_new_items
from raysys.index.new_items import vectors_of_new_items
from raysys.policy.candidates import FreshBatch
from raysys.policy.policies import DrawPolicy
from raysys.release import CREATED_AT, ITEM_VOCABULARY, POPULARITY, Release
from raysys.state.items import Changes, ItemCount, Reception, StoredItem
from raysys.times import microseconds_of

DAY_US = 86_400_000_000
_NEVER_US = np.iinfo(np.int64).max
_LONGEST_US = 1 << 62  # 146,000 years: a time plus this is still an int64


@dataclass(frozen=True, slots=True, eq=False)
class FreshDraws:
    """What one shard's pool has for B queries: compact, since it travels with the search results.

    Of each query: the k of highest perturbed logit and the fresh ones among its relevant items; of
    all other fresh items the log of their sum.
    """

    candidates: FreshBatch
    num_fresh: NDArray[np.int64]
    """(B,) how many items there were to draw from."""
    item_ids: dict[int, str]
    """Ids of those candidates that the release does not know, by key."""


@dataclass(frozen=True, slots=True, eq=False)
class FreshPool:
    """The fresh items of one shard at one delta version."""

    home: Home
    version: int
    """The delta version of the database that the pool has followed; 0: the release alone."""
    items: FreshItems
    expires_at_us: NDArray[np.int64]
    """(n,) when an item is too old; never for those of the release, which age with its log."""
    delta: Delta
    """All that was put of the shard's items, be they young or old."""
    click_rate: float = Reception().click_rate
    """Of fresh items, those of all shards: see `Reception`."""

    @classmethod
    def of_release(
        cls,
        release: Release,
        source: VectorSource,
        *,
        shard: int,
        num_shards: int,
        age_cut_off_days: float,
    ) -> "FreshPool":
        """Make the pool of one shard of a release, before anything was put.

        Args:
            source: the shard itself.
            age_cut_off_days: items of that age or older are not explored. Those of the release age
                against its watermark, new ones against the time of the draw.

        Raises:
            DamagedReleaseError, ReleaseMismatchError: the release cannot be used.
        """
        release.verify(ITEM_VOCABULARY, CREATED_AT, POPULARITY)
        vocabulary = Vocabulary.open(release.file(ITEM_VOCABULARY))
        release.check_vocabulary("item vocabulary", vocabulary.hash)
        created_at_us = _by_item(release, CREATED_AT, len(vocabulary))
        interactions = _by_item(release, POPULARITY, len(vocabulary))
        home = Home(
            vocabulary,
            vectors_of_new_items(release),
            num_partitions=release.manifest.num_partitions,
            shard=shard,
            num_shards=num_shards,
            age_cut_off_us=int(min(age_cut_off_days * DAY_US, _LONGEST_US)),
            unmet=Unmet(interactions == 0, source),
        )
        watermark = release.manifest.watermark  # None of a release without interactions
        watermark_us = 0 if watermark is None else microseconds_of(watermark)
        is_young = watermark_us - created_at_us[1:] < home.age_cut_off_us
        nums, vectors = source.vectors_of(np.flatnonzero(is_young) + 1)
        order = np.argsort(nums)
        return cls.of_items(home, nums[order], vectors[order], interactions[nums[order]])

    @classmethod
    def of_items(
        cls,
        home: Home,
        item_nums: NDArray[np.integer],
        vectors: NDArray[np.float32],
        interactions: NDArray[np.integer],
    ) -> "FreshPool":
        """Make a pool of items of the release, all young enough.

        Args:
            item_nums: (n,) ascending.
            vectors: (n, D).
            interactions: (n,).
        """
        none = np.zeros(len(item_nums), np.int64)
        hashes = stable_hashes(home.vocabulary.ids_of(item_nums))
        keys, counts = item_nums.astype(np.int64), interactions.astype(np.int64)
        items = FreshItems(keys, hashes, vectors, counts, none, none)
        delta = Delta.empty(vectors.shape[1])
        return cls(home, 0, items, np.full(len(keys), _NEVER_US), delta)

    def __len__(self) -> int:
        return len(self.items)

    def num_eligible(self, now_us: int) -> int:
        """Return how many items may be explored at this time, microseconds since 1970 UTC."""
        return int(np.count_nonzero(self._is_eligible(now_us)))

    def with_changes(self, changes: Changes, now_us: int) -> "FreshPool":
        """Return the pool after what changed in the database since `version`.

        Items of other shards do not enter, nor do those that are too old; what has grown too old is
        dropped. An item of the release that is put again keeps its age, and its vector unless
        nobody had interacted with it.
        """
        here = self.home.of_here(changes)
        pool = replace(self, delta=self.delta.with_changes(here, self.home))
        pool = pool._with_items(here.items, now_us)
        pool = replace(pool, items=pool._with_put_vectors())
        return replace(
            pool,
            version=changes.version,
            items=pool._counted(changes.counts),
            click_rate=changes.reception.click_rate,
        )

    def draw(
        self,
        queries: NDArray[np.float32],
        *,
        seeds: NDArray[np.integer],
        counts: NDArray[np.integer],
        now_us: int,
        banned: KeyLists,
        relevant: KeyLists,
        policy: DrawPolicy,
        allowed: NDArray[np.bool_] | None = None,
    ) -> FreshDraws:
        """Draw for lists of several places; `policy.slot_mixture` says what becomes of it.

        Keys, logits and perturbed logits are the same, bit for bit, whatever else is in the batch,
        the pool or the shard; `log_rest` may differ in its last digits.

        Args:
            queries: (B, D) float32; zeros in the row of a user without a vector.
            seeds: (B,).
            counts: (B,) of the items that are not relevant, so many of highest perturbed logit are
                wanted, and the sum over the others.
            now_us: microseconds since 1970 UTC, by which new items age.
            banned: keys that a query must not get.
            relevant: keys that a query may be shown without exploring, as far as this shard knows;
                those that are not fresh do not matter.
            allowed: (n,) which items of the pool may be drawn. None: all.
        """
        is_eligible = self._is_eligible(now_us)
        if allowed is not None:
            is_eligible &= allowed
        candidates, num_fresh = draw_candidates(
            self.items if is_eligible.all() else self.items.take(is_eligible),
            queries,
            seeds=seeds,
            counts=counts,
            banned=banned,
            relevant=relevant,
            policy=policy,
            click_rate=self.click_rate,
        )
        return FreshDraws(candidates, num_fresh, self.delta.put.ids_of(candidates.keys))

    def _is_eligible(self, now_us: int) -> NDArray[np.bool_]:
        is_young = now_us < self.expires_at_us
        put = self.delta.put
        return is_young & ~put.hides(self.items.keys) if put.hidden else is_young

    def _with_items(self, stored: Sequence[StoredItem], now_us: int) -> "FreshPool":
        keys = self.home.keys_of([item.item_id for item in stored])
        put = [stored[place] for place in np.flatnonzero(keys < 0).tolist()]
        entering = [item for item in put if now_us < self.home.end_of(item)]
        stays = (now_us < self.expires_at_us) & ~np.isin(self.items.keys, keys[keys < 0])
        if stays.all() and not entering:
            return self
        return self._merged(stays, entering)

    def _merged(self, stays: NDArray[np.bool_], entering: Sequence[StoredItem]) -> "FreshPool":
        """Return the pool of the items that stay and of those that enter, with counts so far."""
        items = self.items.take(stays).followed_by(self._as_items(entering))
        ends = [self.home.end_of(item) for item in entering]
        expires_at_us = np.concatenate([self.expires_at_us[stays], np.array(ends, np.int64)])
        # Two ids of one hash would share a key; one of them is enough.
        _, order = np.unique(items.keys, return_index=True)
        return replace(self, items=items.take(order), expires_at_us=expires_at_us[order])

    def _as_items(self, entering: Sequence[StoredItem]) -> FreshItems:
        item_ids = [item.item_id for item in entering]
        keys = keys_of_new_items(item_ids)
        columns = self.items.columns_of(keys)
        is_known = columns >= 0
        impressions, clicks = np.zeros((2, len(keys)), np.int64)
        impressions[is_known] = self.items.impressions[columns[is_known]]
        clicks[is_known] = self.items.clicks[columns[is_known]]
        return FreshItems(
            keys,
            stable_hashes(item_ids),
            self.delta.partition.vectors[self.delta.places_of(keys) - 1],
            np.zeros(len(keys), np.int64),
            impressions,
            clicks,
        )

    def _with_put_vectors(self) -> FreshItems:
        """Return the items, those of the release too by what was put, where their vector is."""
        if not len(self.delta.replaced):
            return self.items
        keys, vectors = self.delta.vectors_of(self.items.keys[self.items.keys > 0])
        if not len(keys):
            return self.items
        moved = self.items.vectors.copy()
        moved[self.items.columns_of(keys)] = vectors
        return replace(self.items, vectors=moved)

    def _counted(self, counts: Sequence[ItemCount]) -> FreshItems:
        """Return the items with the new counts of those that the pool holds."""
        columns = self.items.columns_of(self.home.keys_of([count.item_id for count in counts]))
        impressions, clicks = self.items.impressions.copy(), self.items.clicks.copy()
        for count, column in zip(counts, columns.tolist(), strict=True):
            if column >= 0:
                impressions[column], clicks[column] = count.impressions, count.clicks
        return replace(self.items, impressions=impressions, clicks=clicks)


def _by_item(release: Release, name: str, num_items: int) -> NDArray[np.int64]:
    values: NDArray[np.int64] = np.load(release.file(name), mmap_mode="r", allow_pickle=False)
    if values.shape != (num_items + 1,):
        raise DamagedReleaseError(
            f"Release {release.name} has {len(values) - 1} values in {name}, but knows {num_items} "
            f"items. Build the release again."
        )
    return values
