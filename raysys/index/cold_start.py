"""Vectors for items that nobody has interacted with, from what is known of them.

Ridge regression from the features of items to the vectors that were learnt for them: a new item
lands where items of its kind lie. The features:

    text columns       one for each value; a cell with `|` holds several
    truth values       one for true, one for false
    title              one for each word
    numeric columns    the value in standard deviations from the mean, at most 3
    always             an intercept, so that an item of which nothing is known lands in the middle

Letters for shapes:
    N  items    D  width of an embedding    F  features but for the intercept
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.errors import DamagedReleaseError
from raysys.evaluation.scoring import blocks
from raysys.release import COLD_START_FEATURES, COLD_START_WEIGHTS, Release

_MIN_ITEMS = 3
_MAX_TOKENS = 2_048
_MAX_ROWS = 100_000  # of most interactions; the fit takes 8e11 operations with these and 2,048
_BLOCK_ROWS = 4_096
_HALF_TRUSTED = 10  # interactions with which a learnt vector has half the weight of a certain one
# By 4-fold cross-validation on MovieLens-100K with the GRU's vectors: the correlation, over users,
# of a held-out film's score with the one that its learnt vector gives is 0.645 (0.628 with 1, 0.630
# with 30, 0.564 with 100; the intercept alone has 0.117).
_PENALTY = 10.0
_FARTHEST = 3.0
_WITH_TOKENS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
_NOT_FEATURES = ("item_id", "creation_timestamp")  # new items lie beyond all known times
_FEATURES = pa.schema(
    [
        pa.field("column", pa.string(), nullable=False),
        pa.field("token", pa.string()),  # null: the column is numeric
        pa.field("mean", pa.float64(), nullable=False),  # 0 for a token
        pa.field("scale", pa.float64(), nullable=False),  # 1 for a token
    ]
)

Properties = Mapping[str, Any]
"""What is known of one item: texts, lists of texts and numbers by name."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """A numeric feature: what is subtracted from the value, then what divides it."""

    number: int
    mean: float
    scale: float


class ColdStart:
    """What `fit_cold_start` found. An item's vector depends on its own properties alone.

    Args:
        features: a table of `_FEATURES`, (F,).
        weights: (F + 1, D) float32; the last row is the intercept.
    """

    def __init__(self, features: pa.Table, weights: NDArray[np.float32]) -> None:
        self._features = features
        self._weights = weights
        self._tokens: dict[str, dict[str, int]] = {}
        self._measures: dict[str, _Measure] = {}
        for number, row in enumerate(features.to_pylist()):
            column = _plain(row["column"])
            if row["token"] is None:
                self._measures[column] = _Measure(number, row["mean"], row["scale"])
            else:
                self._tokens.setdefault(column, {})[row["token"]] = number

    @property
    def num_features(self) -> int:
        return len(self._features)

    def vectors(self, properties: Sequence[Properties]) -> NDArray[np.float32]:
        """Return one vector per item, (N, D).

        Args:
            properties: names may be written as the item table writes them or in camel case. Names
                and values that the table did not have are passed over.
        """
        found = np.empty((len(properties), self._weights.shape[1]), np.float32)
        for row, known in enumerate(properties):
            numbers, values = self._features_of(known)
            # In one fixed order, so that every replica has the same vector.
            found[row] = (self._weights[numbers].astype(np.float64) * values[:, None]).sum(axis=0)
        return found

    def save(self, release: Path) -> None:
        """Write the files of a release draft that `open` reads."""
        (release / COLD_START_FEATURES).parent.mkdir(exist_ok=True)
        with pa.ipc.new_file(str(release / COLD_START_FEATURES), _FEATURES) as sink:
            sink.write_table(self._features)
        np.save(release / COLD_START_WEIGHTS, self._weights)

    @classmethod
    def open(cls, release: Release) -> "ColdStart":
        """Check the hashes of a release's files and map them into memory.

        Raises:
            DamagedReleaseError: a file is missing, was altered, or does not fit the release.
        """
        release.verify(COLD_START_FEATURES, COLD_START_WEIGHTS)
        with pa.memory_map(str(release.file(COLD_START_FEATURES))) as source:
            features = pa.ipc.open_file(source).read_all()
        path = release.file(COLD_START_WEIGHTS)
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
        expected = (len(features) + 1, release.manifest.embedding_dim)
        if weights.shape != expected or not features.schema.equals(_FEATURES):
            raise DamagedReleaseError(
                f"Release {release.name} cannot place new items: {COLD_START_WEIGHTS} has the "
                f"shape {weights.shape}, but {len(features)} features and vectors of width "
                f"{expected[1]} need {expected}. Build the release again."
            )
        return cls(features, weights)

    def _features_of(self, properties: Properties) -> tuple[list[int], NDArray[np.float64]]:
        """Return the features that an item has, ascending, and their values."""
        values = {self.num_features: 1.0}
        for name, value in properties.items():
            column = _plain(name)
            if (measure := self._measures.get(column)) is not None:
                number = _number(value)
                if number is not None:
                    deviation = (number - measure.mean) / measure.scale
                    values[measure.number] = min(max(deviation, -_FARTHEST), _FARTHEST)
            elif (numbers := self._tokens.get(column)) is not None:
                known = (numbers.get(token) for token in _tokens(column, value))
                values.update((number, 1.0) for number in known if number is not None)
        order = sorted(values)
        return order, np.array([values[number] for number in order])


def fit_cold_start(
    vectors: NDArray[np.float32], item_table: pa.Table, counts: NDArray[np.integer]
) -> ColdStart:
    """Learn where items lie from what is known of them.

    Tokens that fewer than 3 items have are left out, and all but the 2,048 commonest. The weight of
    an item in the fit is count / (count + 10), since the vector of a rare one is mostly chance.

    Args:
        vectors: (N, D) learnt.
        item_table: (N,) in the same order; see `tables.ITEMS`.
        counts: (N,) interactions that each vector was learnt from. Of more than 100,000 items those
            with most are used.
    """
    if not len(vectors) == len(item_table) == len(counts):
        raise ValueError(
            f"{len(vectors)} vectors, {len(item_table)} rows of the item table and {len(counts)} "
            f"counts do not fit: each item has one of each."
        )
    rows = np.sort(np.argsort(-counts, kind="stable")[:_MAX_ROWS])
    rows = rows[counts[rows] > 0]
    names = [name for name in item_table.column_names if name not in _NOT_FEATURES]
    known = item_table.select(names).take(pa.array(rows))
    width = vectors.shape[1]
    empty = ColdStart(_features(known), np.zeros((0, width), np.float32))
    trust = counts[rows] / (counts[rows] + _HALF_TRUSTED)
    weights = _ridge(empty, known.to_pylist(), vectors[rows], trust)
    return ColdStart(empty._features, weights)


def _features(table: pa.Table) -> pa.Table:
    """Return the features, a table of `_FEATURES`, that items of such a table have."""
    found: list[dict[str, Any]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for name in table.column_names:
        column = table.column(name)
        if any(is_such(column.type) for is_such in _WITH_TOKENS):
            for value in column.to_pylist():
                counts.update((name, token) for token in set(_tokens(_plain(name), value)))
            continue
        numbers = np.array([n for value in column.to_pylist() if (n := _number(value)) is not None])
        if len(numbers) and numbers.std() > 0:
            mean, scale = float(numbers.mean()), float(numbers.std())
            found.append({"column": name, "token": None, "mean": mean, "scale": scale})
    common = [(-count, key) for key, count in counts.items() if count >= _MIN_ITEMS]
    for _, (name, token) in sorted(common)[:_MAX_TOKENS]:
        found.append({"column": name, "token": token, "mean": 0.0, "scale": 1.0})
    return pa.Table.from_pylist(found, schema=_FEATURES)


def _ridge(
    features: ColdStart,
    properties: Sequence[Properties],
    vectors: NDArray[np.float32],
    trust: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the weights, (F + 1, D), of least weighted squares; the intercept is not penalised."""
    size = features.num_features + 1
    gram, moment = np.zeros((size, size)), np.zeros((size, vectors.shape[1]))
    for rows in blocks(len(properties), _BLOCK_ROWS):
        block = np.zeros((rows.stop - rows.start, size), np.float32)
        for row, known in enumerate(properties[rows]):
            numbers, values = features._features_of(known)
            block[row, numbers] = values
        roots = np.sqrt(trust[rows])[:, None].astype(np.float32)
        block *= roots
        gram += block.T @ block
        moment += block.T @ (vectors[rows] * roots)
    penalty = np.full(size, _PENALTY)
    penalty[-1] = 1e-6  # no item at all: the zero vector
    gram[np.diag_indices(size)] += penalty
    return np.linalg.solve(gram, moment).astype(np.float32)


def _tokens(column: str, value: Any) -> Iterator[str]:
    """Give the values of a cell, or the words of a title, in lower case, some perhaps twice."""
    for text in _texts(value):
        lowered = text.lower()
        if column == "title":
            yield from re.findall(r"\w+", lowered)
        else:
            yield from filter(None, (cell.strip() for cell in lowered.split("|")))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, str):
        return [value]
    return [str(value)] if isinstance(value, int | float) else []


def _number(value: Any) -> float | None:
    """Return the finite number that a value is or spells, if it does."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _plain(name: str) -> str:
    """Return one form for the ways to write a name: RELEASE_YEAR, release_year, releaseYear."""
    return name.replace("_", "").lower()
