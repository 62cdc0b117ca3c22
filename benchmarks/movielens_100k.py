"""MovieLens-100K in the memory of one process, for benchmarks that need no cluster."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.movielens import fetch_movielens_100k
from raysys.logs.schema import Embedding, Field, ValueType

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Log:
    """Who did what: item numbers are those of `items`, row r is the user with number r + 1."""

    histories: Histories
    items: Vocabulary
    users: Vocabulary


def read_log(
    cache: Path,
    *,
    item_of: Callable[[Row], str] = lambda row: row["item_id"],
    keep: Callable[[Row], bool] = lambda row: True,
) -> Log:
    """Return the ratings of each user by time; ties keep the order of the file.

    Args:
        cache: where the data is kept.
        item_of: what a row of the table of items is known by; rows may share it.
        keep: which ratings count.
    """
    files = fetch_movielens_100k(cache)
    name_of = {row["item_id"]: item_of(row) for row in _rows_of(files.items)}
    rated = [row for row in _rows_of(files.interactions) if keep(row)]
    items = Vocabulary.from_ids([name_of[row["item_id"]] for row in rated])
    users = Vocabulary.from_ids([row["user_id"] for row in rated])
    user_nums = users.numbers([row["user_id"] for row in rated])
    item_nums = items.numbers([name_of[row["item_id"]] for row in rated])
    times = np.array([int(float(row["timestamp"])) for row in rated])
    order = np.lexsort((times, user_nums))  # stable
    begins = np.searchsorted(user_nums[order], np.arange(1, len(users) + 2))
    histories = Histories(
        pa.array(users.ids), begins, item_nums[order], times[order] * 1_000_000, items.hash
    )
    return Log(histories, items, users)


def item_features(
    cache: Path, items: Vocabulary, titles: Embedding = Embedding.NGRAMS
) -> FeatureTables:
    """Return what models read of the films: the columns that `raysys import` infers from the file.

    Args:
        items: by their ids, as `read_log` numbers them unless told otherwise.
        titles: how they are read; as sentences only where a schema says so.
    """
    row_of = {row["item_id"]: row for row in _rows_of(fetch_movielens_100k(cache).items)}
    rows = [row_of[item_id] for item_id in items.ids.to_pylist()]
    years = [row["release_year"] for row in rows]
    columns = {
        "title": [title_with_year(row) for row in rows],
        "year": [int(year) if year.isdigit() else None for year in years],  # one is "unknown"
        "genres": [row["class"].replace(" ", "|") for row in rows],
    }
    fields = [
        Field(
            "MOVIE_TITLE", ValueType.STRING, is_nullable=True, is_item_name=True, embedding=titles
        ),
        Field("YEAR", ValueType.LONG, is_nullable=True),
        Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True),
    ]
    table = pa.table(columns)
    return FeatureTables(items=FeatureTable.of(table, fit_features([table], fields)))


def title_with_year(row: Row) -> str:
    """Return what TensorFlow Recommenders' tutorials know an item by; 1,664 differ."""
    return f"{row['movie_title']} ({row['release_year']})"


def features_of(cache: Path, log: Log, *, item_of: Callable[[Row], str]) -> FeatureTables:
    """Return year and genres of a log's items, and age, gender and occupation of its users.

    Args:
        item_of: as of `read_log`; of rows that share a name the first counts.
    """
    files = fetch_movielens_100k(cache)
    items = {item_of(row): row for row in reversed(_rows_of(files.items))}
    users = {row["user_id"]: row for row in _rows_of(files.users)}
    of_items = [items[name] for name in log.items.ids.to_pylist()]
    of_users = [users[name] for name in log.users.ids.to_pylist()]
    genres = [row["class"].replace(" ", "|") for row in of_items]
    return FeatureTables(
        _table(year=[row["release_year"] for row in of_items], genres=genres),
        _table(
            age=[row["age"] for row in of_users],
            gender=[row["gender"] for row in of_users],
            occupation=[row["occupation"] for row in of_users],
        ),
    )


def _table(**columns: list[str]) -> FeatureTable:
    """Return features of columns of categories; `age` is a number."""
    table = pa.table(columns)
    fields = [
        Field("AGE", ValueType.INT, is_nullable=True)
        if name == "age"
        else Field(name.upper(), ValueType.STRING, is_nullable=True, is_categorical=True)
        for name in columns
    ]
    return FeatureTable.of(table, fit_features([table], fields))


def _rows_of(file_of: object) -> list[dict[str, str]]:
    """Return the rows of a RecBole file by its path; the types in its header are cut off."""
    with Path(str(file_of)).open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [name.partition(":")[0] for name in next(reader)]
        return [dict(zip(names, row, strict=True)) for row in reader]
