"""A seeded world of users and items in which the truth is planted, written as a plain log.

Letters for shapes: U users, N items, K tastes (one per genre).

Every user has a vector over tastes (U, K), rows summing to 1, and every item a vector (N, K) whose
columns sum to 1: the chance of the item when a taste is in charge. So the chance that a user picks
an item is the dot product of their vectors, `Simulator.preference`. Three things make it a world
that models can be told apart in:

- Popularity has a long tail (Zipf), the same in every taste: what everybody takes is a fair guess.
- One taste stays in charge for about 1 / (1 - persistence) picks, so that what somebody took last
  says more than what they took long ago, and more than what everybody takes.
- A user's vector drifts in a straight line from a first to a second one over their history.

Nobody picks an item twice. Genres, in the item table, are the tastes of an item's vector. The same
settings give the same bytes, with one version of numpy. Users are made in blocks of a fixed size,
each from its own seed, so memory does not grow with their number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from raysys import storage
from raysys.errors import ConfigError
from raysys.logs.draws import (
    Floats,
    Integers,
    draw_columns,
    first_picks,
    numbered_ids,
    ragged,
    times_of_picks,
)
from raysys.logs.movielens import LogFiles

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

_BLOCK_USERS = 4096
_STRAY = 0.002  # weight of an item in the tastes that are not its genres; its genres share 1
_SURPLUS = 2.0  # picks made per pick kept, since those made before are dropped

_INTERACTIONS = pa.schema(
    [
        ("USER_ID", pa.string()),
        ("ITEM_ID", pa.string()),
        ("TIMESTAMP", pa.int64()),
        ("EVENT_TYPE", pa.string()),
        ("EVENT_VALUE", pa.float64()),
    ]
)
_ROWS_ONLY = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")


@dataclass(frozen=True)
class Simulator:
    """The settings of a world; the defaults are of the size of MovieLens-100K.

    Attributes:
        mean_history: about how many picks a user makes; at least 20. Few make many more, and those
            whose tastes a small catalogue exhausts make fewer.
        popularity_exponent: the item of popularity rank r has weight r ** -popularity_exponent.
        persistence: the chance that the taste in charge stays for the next pick, in [0, 1).
    """

    seed: int = 0
    num_users: int = 943
    num_items: int = 1682
    mean_history: int = 106
    popularity_exponent: float = 0.8
    persistence: float = 0.9

    def __post_init__(self) -> None:
        if self.num_users < 1 or self.num_items < 2 * len(GENRES) or self.mean_history < 20:
            raise ConfigError(
                f"A simulated world needs at least 1 user, {2 * len(GENRES)} items and a mean "
                f"history of 20, but got {self.num_users}, {self.num_items}, {self.mean_history}."
            )
        if not 0 <= self.persistence < 1 or self.popularity_exponent < 0:
            raise ConfigError(
                f"persistence must be in [0, 1) and popularity_exponent at least 0, but got "
                f"{self.persistence} and {self.popularity_exponent}."
            )

    def write(self, directory: Path) -> LogFiles:
        """Write `interactions.csv` and `items.csv` into `directory`, which is replaced."""
        staging = storage.staging_directory(directory)
        try:
            _write_csv(staging / "interactions.csv", _INTERACTIONS, self.interactions())
            items = self.items()
            _write_csv(staging / "items.csv", items.schema, [items])
            storage.remove_tree(directory)
            storage.publish_directory(staging, directory)
        finally:
            storage.remove_tree(staging)
        files = directory / "interactions.csv", directory / "items.csv"
        return LogFiles(f"a simulated log (seed {self.seed})", *files, users=None)

    def preference(
        self, user_num: NDArray[Any] | int, item_num: NDArray[Any] | int, *, at: float = 1.0
    ) -> Floats:
        """Return the chance that a pick of the user is the item, were they to forget the past.

        Args:
            user_num: user `u7` has number 7. Arrays are matched with `item_num` elementwise.
            at: 0 is the start of the user's history, 1 its end.
        """
        users, items = np.broadcast_arrays(np.asarray(user_num) - 1, np.asarray(item_num) - 1)
        chances = np.empty(users.shape)
        for block in np.unique(users // _BLOCK_USERS).tolist():
            is_here = users // _BLOCK_USERS == block
            start, end = self._tastes_of_users(block)
            rows = users[is_here] % _BLOCK_USERS
            tastes = (1 - at) * start[rows] + at * end[rows]  # (M, K)
            chances[is_here] = np.einsum("mk,mk->m", tastes, self._item_vectors[items[is_here]])
        return chances

    def items(self) -> pa.Table:
        """Return the item table: ITEM_ID, TITLE, GENRES. Item `i7` has number 7."""
        numbers = np.arange(self.num_items)
        tens, ones = np.divmod(numbers, len(_FIRST_WORDS))
        titles = [
            f"{_FIRST_WORDS[one]} {_SECOND_WORDS[ten % 10]} {ten // 10 + 1} ({1990 + ten % 30})"
            for ten, one in zip(tens.tolist(), ones.tolist(), strict=True)
        ]
        genres = ["|".join(np.array(GENRES)[row]) for row in self._genres]
        ids = [f"i{number + 1}" for number in numbers.tolist()]
        return pa.table({"ITEM_ID": ids, "TITLE": titles, "GENRES": genres})

    def interactions(self) -> Iterator[pa.Table]:
        """Yield the log, a block of users at a time, each block in the order of time."""
        for block in range(-(-self.num_users // _BLOCK_USERS)):
            yield self._interactions_of(block)

    def _interactions_of(self, block: int) -> pa.Table:
        rng = self._generator("picks", block)
        lengths = self._lengths(rng, self._num_users_in(block))
        users, places = ragged(np.ceil(lengths * _SURPLUS).astype(np.int64))
        tastes = self._tastes_in_charge(rng, block, users, np.minimum(places / lengths[users], 1.0))
        items = self._draw_items(rng, tastes)
        kept = first_picks(users, items, self.num_items, lengths)
        users, items, tastes = users[kept], items[kept], tastes[kept]
        seconds = times_of_picks(rng, users)
        fits = self._genres[items, tastes]
        ratings = np.clip(np.rint(rng.normal(np.where(fits, 4.0, 2.5), 0.8)), 1, 5)
        order = np.argsort(seconds, kind="stable")
        user_nums = block * _BLOCK_USERS + users + 1
        return pa.table(
            [
                numbered_ids("u", user_nums[order]),
                numbered_ids("i", items[order] + 1),
                pa.array(seconds[order]),
                pa.array(["rating"] * len(order)),
                pa.array(ratings[order]),
            ],
            schema=_INTERACTIONS,
        )

    def _lengths(self, rng: np.random.Generator, num_users: int) -> Integers:
        """Return how many picks each user wants to make: 20 and more, with a long tail."""
        extra = rng.lognormal(0.0, 1.0, num_users) / np.exp(0.5) * (self.mean_history - 20)
        lengths: Integers = np.minimum(20 + extra.astype(np.int64), self.num_items // 4 + 1)
        return lengths

    def _tastes_in_charge(
        self, rng: np.random.Generator, block: int, users: Integers, at: Floats
    ) -> Integers:
        """Return which taste makes each pick; `at` is how far into the history it is."""
        is_end = rng.random(len(users)) < at
        chances = np.where(
            is_end[:, None], *(part[users] for part in reversed(self._tastes_of_users(block)))
        )
        drawn = draw_columns(rng, chances)
        is_new = rng.random(len(users)) >= self.persistence
        is_new |= np.diff(users, prepend=-1) != 0
        return drawn[np.maximum.accumulate(np.where(is_new, np.arange(len(users)), 0))]

    def _draw_items(self, rng: np.random.Generator, tastes: Integers) -> Integers:
        uniform = rng.random(len(tastes))
        items = np.empty(len(tastes), np.int64)
        for taste in range(len(GENRES)):
            is_here = tastes == taste
            items[is_here] = np.searchsorted(
                self._cumulated[:, taste], uniform[is_here], side="right"
            )
        return np.minimum(items, self.num_items - 1)

    def _generator(self, purpose: str, block: int = 0) -> np.random.Generator:
        purposes = ("items", "tastes", "picks")
        return np.random.default_rng([self.seed, purposes.index(purpose), block])

    def _num_users_in(self, block: int) -> int:
        return min(_BLOCK_USERS, self.num_users - block * _BLOCK_USERS)

    @lru_cache(maxsize=4)  # noqa: B019 - a world is small, and lives as long as its program
    def _tastes_of_users(self, block: int) -> tuple[Floats, Floats]:
        """Return the vectors of a block's users at the start and at the end, each (U, K)."""
        rng = self._generator("tastes", block)
        weights = rng.gamma(0.2, size=(2, self._num_users_in(block), len(GENRES))) + 1e-6
        start, end = weights / weights.sum(axis=2, keepdims=True)
        return start, end

    @cached_property
    def _genres(self) -> NDArray[np.bool_]:
        """Which item is of which genres, (N, K): one to three each, every genre at least once."""
        rng = self._generator("items")
        order = rng.random((self.num_items, len(GENRES))).argsort(axis=1)
        order[:, 0] = np.arange(self.num_items) % len(GENRES)
        num_genres = rng.integers(1, 4, self.num_items)
        genres = np.zeros((self.num_items, len(GENRES)), bool)
        for place in range(3):
            chosen = np.flatnonzero(num_genres > place)
            genres[chosen, order[chosen, place]] = True
        return genres

    @cached_property
    def _item_vectors(self) -> Floats:
        """Return the chance of each item in each taste, (N, K), columns summing to 1."""
        rng = np.random.default_rng([self.seed, 3])
        popularity = (1.0 + rng.permutation(self.num_items)) ** -self.popularity_exponent
        share = self._genres / self._genres.sum(axis=1, keepdims=True)
        weights = popularity[:, None] * (share + _STRAY)
        vectors: Floats = weights / weights.sum(axis=0)
        return vectors

    @cached_property
    def _cumulated(self) -> Floats:
        return np.cumsum(self._item_vectors, axis=0)


def _write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with path.open("wb") as file:
        file.write(",".join(schema.names).encode() + b"\n")
        with pyarrow.csv.CSVWriter(file, schema, write_options=_ROWS_ONLY) as writer:
            for table in tables:
                writer.write_table(table)
