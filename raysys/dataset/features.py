"""What is known of items or users in numbers: declared columns become features, each with a value.

    categorical, truth value   one feature for each frequent value
    number                     one for each range of numbers, and its distance from the mean
    time of creation           one for each range of times
    prose, item name           one for each common n-gram of it, rare ones weigh more; declared with
                               `embedding: sentence`, one for each number of its sentence vector

The first feature of every column stands for a cell that says nothing, and for values that were not
seen when the features were found. The same cell gives the same features, bit for bit, whether it
comes from a table of any source, as the text of a CSV file, or from the JSON of a request.

Letters for shapes:
    R  rows    F  features of all columns
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field as Setting

from raysys.dataset.bags import Bags
from raysys.dataset.categories import plain_name
from raysys.dataset.feature_columns import Column, ColumnFit, SentenceFeatures, column_fit
from raysys.dataset.kept_as_json import KeptAsJson
from raysys.dataset.sentence_cache import kept_vectors
from raysys.dataset.sentences import VectorsOf, sentence_model
from raysys.logs.catalogue_values import declared_values
from raysys.logs.schema import CREATION_TIMESTAMP, Field, Schema, ValueType

ROWS_AT_ONCE = 1 << 16

Properties = Mapping[str, Any]
"""What a request says of one item or user: texts, numbers, truth values, lists of texts by name."""

_Column = Annotated[Column, Setting(discriminator="kind")]


class FeatureEncoder(KeptAsJson):
    """The features of a table; `fit_features` makes one. It is kept as JSON."""

    columns: tuple[_Column, ...]

    @property
    def num_features(self) -> int:
        """F. Those of the first column are counted first."""
        return sum(column.num_features for column in self.columns)

    def check_models(self) -> None:
        """Make sure that texts can be read as they were in training (ConfigError: they cannot)."""
        for column in self.columns:
            if isinstance(column, SentenceFeatures):
                column.check_model()

    def encode(self, rows: pa.Table) -> Bags:
        """Return the features of some rows, (R,). Sentence vectors are kept for the next time.

        Args:
            rows: columns of the declared types, or texts that spell such values. A column that is
                lacking, and a value that cannot be used, say nothing.

        Raises:
            ConfigError: sentence vectors cannot be made here.
        """
        cells = []
        for column in self.columns:
            name = column.field.column
            if name in rows.column_names:
                cells.append(_plain_array(rows.column(name)))
            else:
                cells.append(pa.nulls(rows.num_rows, pa.string()))
        return self._encoded(cells, rows.num_rows, kept_vectors)

    def encode_properties(self, properties: Sequence[Properties]) -> Bags:
        """Return the features of what requests say of items or users, (R,).

        Args:
            properties: case and underscores of a name do not count, so that `releaseYear` is
                RELEASE_YEAR. Names of no column are passed over.
        """
        given = [{plain_name(name): value for name, value in each.items()} for each in properties]
        cells = []
        for column in self.columns:
            names = [plain_name(column.field.name), plain_name(column.field.column)]
            texts = [
                next((text_of(one[name]) for name in names if name in one), None) for one in given
            ]
            cells.append(pa.array(texts, pa.string()))
        return self._encoded(cells, len(properties), lambda texts: sentence_model().vectors(texts))

    def _encoded(self, cells: Sequence[pa.Array], num_rows: int, vectors_of: VectorsOf) -> Bags:
        firsts = accumulate((column.num_features for column in self.columns), initial=0)
        parts = []
        for column, values, first in zip(self.columns, cells, firsts, strict=False):
            usable = _usable(values, column.field)
            if isinstance(column, SentenceFeatures):
                found = column.features_of(usable, vectors_of)
            else:
                found = column.features_of(usable)
            parts.append(Bags(found.nums + np.int32(first), found.values, found.offsets))
        return Bags.side_by_side(parts, num_rows)


def feature_fields(schema: Schema) -> tuple[Field, ...]:
    """Return the fields of a table that features are made of.

    All metadata but strings that are neither categorical nor prose, and the time of creation.
    """
    fields = [
        field
        for field in schema.metadata
        if field.type is not ValueType.STRING or field.is_categorical or field.is_read_as_text
    ]
    created = schema.field(CREATION_TIMESTAMP)
    return tuple(fields if created is None else [*fields, created])


def fit_features(
    tables: Iterable[pa.Table],
    fields: Sequence[Field],
    *,
    max_categories: int = 10_000,
    min_rows: int = 3,
    num_ranges: int = 32,
    seed: int = 0,
) -> FeatureEncoder:
    """Find the features of a table in one pass over its rows.

    Memory: that of a `CategoryFit` for each column, whatever the number of rows. The same tables in
    the same order give the same features.

    Args:
        tables: pieces of one table, columns typed or texts.
        fields: see `feature_fields`.
        max_categories: how many values, or n-grams, of a column are told apart: the most frequent.
        min_rows: in how many rows a value or n-gram must stand. One that stands in a single row
            tells nothing of another.
        num_ranges: ranges of a numeric column, at most; each holds about as many rows.
    """
    fits: list[ColumnFit] = [
        column_fit(
            field,
            max_categories=max_categories,
            min_rows=min_rows,
            num_ranges=num_ranges,
            seed=seed,
        )
        for field in fields
    ]
    for table in tables:
        for field, fit in zip(fields, fits, strict=True):
            if field.column in table.column_names:
                fit.add(_usable(_plain_array(table.column(field.column)), field))
    return FeatureEncoder(columns=tuple(fit.column() for fit in fits))


def pieces(table: pa.Table, num_rows: int = ROWS_AT_ONCE) -> Iterable[pa.Table]:
    """Return a table in pieces of some rows, so that little is worked on at a time."""
    starts = range(0, table.num_rows, num_rows)
    return (table.slice(start, num_rows) for start in starts)


def _usable(values: pa.Array, field: Field) -> pa.Array:
    """Return values of the declared type, null where there is none or it cannot be used."""
    typed, _ = declared_values(values, field)
    return typed


def _plain_array(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.cast(pa.string()) if pa.types.is_large_string(array.type) else array


def text_of(value: Any) -> str | None:
    """Return what a CSV file would hold for a value of JSON; None for what it could not."""
    if isinstance(value, list):
        return "|".join(each for each in value if isinstance(each, str))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return value if isinstance(value, str) else None
