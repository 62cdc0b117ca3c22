"""The items of a simulated world: when they are launched, what they are, how good, how well known.

An item's number is its place in the order of launches, from 0 here and from 1 in ids, so what has
been launched by a time is a first part of all arrays. After the items of the log come those of the
days after it.

Letters for shapes: N items, K tastes (one per genre), M questions.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.simulator.draws import Booleans, Floats, Integers, generator, numbered_ids
from raysys.logs.simulator.shelves import Shelves
from raysys.logs.simulator.worlds import FUTURE_DAYS, World

# fmt: off
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War",
    "Western",
)
_FIRST_WORDS = (
    "Amber", "Broken", "Crimson", "Distant", "Electric", "Final", "Golden", "Hidden", "Iron", "Last"
)
_SECOND_WORDS = (
    "River", "Empire", "Garden", "Letter", "Machine", "Night", "Ocean", "Promise", "Road", "Winter"
)
# fmt: on
STUDIOS = tuple(f"{word} {kind}" for kind in ("Pictures", "Films") for word in _FIRST_WORDS)

TABLE = pa.schema(
    [
        ("ITEM_ID", pa.string()),
        ("TITLE", pa.string()),
        ("GENRES", pa.string()),  # what attracts; several with `|` between
        ("STUDIO", pa.string()),  # they differ in the quality of their items
        ("CREATION_TIMESTAMP", pa.int64()),  # of the launch, seconds since 1970
    ]
)
"""What is told of items."""

DAY_S = 86_400
BEGIN_S = 1_577_836_800
"""When every log begins: 2020-01-01 UTC, in seconds since 1970."""
_OLDEST_DAYS = 3650  # age that items of the start may have


@dataclass(frozen=True, eq=False)
class WorldItems:
    """All items of a world, in the order of their launches."""

    world: World
    launched_at_s: Integers
    """(N,) ascending, seconds since 1970."""
    genres: Booleans
    """(N, K) one to three each."""
    studios: Integers
    """(N,) places in `STUDIOS`."""
    quality: Floats
    """(N,) in (0, 1)."""
    fame: Floats
    """(N,) in (0, 1]: how readily people come across the item by themselves."""
    is_poor: Booleans
    """(N,)"""

    @classmethod
    def of(cls, world: World, seed: int) -> "WorldItems":
        """Make the items of a world."""
        old, new = generator(seed, "items"), generator(seed, "new items")
        num_new = world.new_items_per_day * FUTURE_DAYS
        genres, studios, own, renown = (
            np.concatenate(both)
            for both in zip(_drawn(old, world.num_items), _drawn(new, num_new), strict=True)
        )
        of_studios = generator(seed, "studios").standard_normal(len(STUDIOS))
        score = _blended(np.sqrt(world.studio_says), of_studios[studios], own)
        is_poor = np.zeros(len(score), bool)
        is_poor[world.num_items :] = new.random(num_new) < world.share_poor
        log_odds = np.log(world.mean_quality / (1 - world.mean_quality))
        quality = 1 / (1 + np.exp(-log_odds - world.quality_spread * score))
        return cls(
            world,
            np.concatenate([_launches_of_log(world, old), _launches_after_it(world)]),
            genres,
            studios,
            quality * np.where(is_poor, world.poor_quality, 1.0),
            _fame(world, _blended(world.fame_follows_quality, score, renown)),
            is_poor,
        )

    def __len__(self) -> int:
        return len(self.quality)

    def num_launched(self, at_s: Integers | int) -> Integers:
        """Return how many items have been launched by a time, itself included."""
        counts: Integers = np.searchsorted(self.launched_at_s, at_s, side="right")
        return counts

    def genre_chances(self, items: Integers, tastes: Floats) -> Floats:
        """Return the chance that a taste is one of the item's: (M,) items, (M, K) tastes."""
        chances: Floats = np.einsum("mk,mk->m", self.genres[items], tastes)
        return chances

    def attraction(self, items: Integers, tastes: Floats) -> Floats:
        """Return the chance that a person with these tastes takes what they look at, (M,).

        It is quality * (stray + (1 - stray) * genre_chances).
        """
        stray = self.world.stray
        return self.quality[items] * (stray + (1 - stray) * self.genre_chances(items, tastes))

    def fit_chances(self, items: Integers, tastes: Floats) -> Floats:
        """Return the chance that taste, not straying, led a person with these tastes to an item."""
        by_taste = (1 - self.world.stray) * self.genre_chances(items, tastes)
        fits: Floats = by_taste / (self.world.stray + by_taste)
        return fits

    def table(self, start: int, stop: int) -> pa.Table:
        """Return the rows of `TABLE` for a range of items."""
        numbers = np.arange(start, stop)
        tens, ones = np.divmod(numbers, len(_FIRST_WORDS))
        hundreds, tens = np.divmod(tens, len(_SECOND_WORDS))
        launched = pa.array(self.launched_at_s[start:stop])
        years = pc.year(launched.cast(pa.timestamp("s")))
        titles = pc.binary_join_element_wise(
            pa.array(_FIRST_WORDS).take(pa.array(ones)),
            pa.array(_SECOND_WORDS).take(pa.array(tens)),
            pa.array(hundreds + 1).cast(pa.string()),
            pc.binary_join_element_wise("(", years.cast(pa.string()), ")", ""),
            " ",
        )
        columns = [
            numbered_ids("i", numbers + 1),
            titles,
            _joined_genres(self.genres[start:stop]),
            pa.array(STUDIOS).take(pa.array(self.studios[start:stop])),
            launched,
        ]
        return pa.table(columns, schema=TABLE)

    @cached_property
    def shelves(self) -> Shelves:
        """The items as people come across them, by fame * quality."""
        return Shelves.of(self.genres, self.fame * self.quality, self.world.stray)


class _Drawn(NamedTuple):
    genres: Booleans
    studios: Integers
    own: Floats
    renown: Floats


def _drawn(rng: np.random.Generator, num_items: int) -> _Drawn:
    """Draw what items are; the first ones have each genre once, so that no taste lacks items."""
    order = rng.random((num_items, len(GENRES))).argsort(axis=1)
    order[:, 0] = np.arange(num_items) % len(GENRES)
    num_genres = rng.integers(1, 4, num_items)
    genres = np.zeros((num_items, len(GENRES)), bool)
    for place in range(3):
        chosen = np.flatnonzero(num_genres > place)
        genres[chosen, order[chosen, place]] = True
    studios = rng.integers(0, len(STUDIOS), num_items)
    return _Drawn(genres, studios, *rng.standard_normal((2, num_items)))


def _blended(correlation: float, one: Floats, other: Floats) -> Floats:
    """Return standard normal numbers that correlate so much with the first ones."""
    blended: Floats = correlation * one + np.sqrt(1 - correlation**2) * other
    return blended


def _fame(world: World, renown: Floats) -> Floats:
    of_log = np.sort(renown[: world.num_items])
    num_higher = world.num_items - np.searchsorted(of_log, renown, side="right")
    fame: Floats = np.power(1.0 + num_higher, -world.popularity_exponent)
    return fame


def _launches_of_log(world: World, rng: np.random.Generator) -> Integers:
    num_at_start = round(world.share_at_start * world.num_items)
    during = world.num_items - num_at_start
    before = BEGIN_S - rng.integers(0, _OLDEST_DAYS * DAY_S, num_at_start)
    within = BEGIN_S + rng.integers(0, world.num_days * DAY_S, during)
    return np.sort(np.concatenate([before, within]))


def _launches_after_it(world: World) -> Integers:
    days = np.repeat(np.arange(FUTURE_DAYS), world.new_items_per_day)
    launches: Integers = BEGIN_S + (world.num_days + days) * DAY_S
    return launches


def _joined_genres(genres: Booleans) -> pa.Array:
    """Return the names of each item's genres with `|` between; few sets, so each is made once."""
    sets, which = np.unique(np.packbits(genres, axis=1), axis=0, return_inverse=True)
    unpacked = np.unpackbits(sets, axis=1, count=len(GENRES)).astype(bool)
    names = np.array(GENRES)
    joined = pa.array(["|".join(names[row]) for row in unpacked], pa.string())
    return joined.take(pa.array(which.ravel()))
