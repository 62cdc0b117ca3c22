"""Declared columns become features, the same ones from a table, from CSV text and from JSON."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.dataset.features import FeatureEncoder, feature_fields, fit_features, pieces
from raysys.logs.schema import Field, Kind, Schema, ValueType

GENRES = Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True)
PRICE = Field("PRICE", ValueType.DOUBLE, is_nullable=True)
IS_NEW = Field("IS_NEW", ValueType.BOOLEAN, is_nullable=True)
PLOT = Field("PLOT", ValueType.STRING, is_nullable=True, is_textual=True)
TITLE = Field("MOVIE_TITLE", ValueType.STRING, is_nullable=True, is_item_name=True)
CREATED = Field("CREATION_TIMESTAMP", ValueType.LONG, is_nullable=True)
PLAIN = Field("NOTE", ValueType.STRING, is_nullable=True)
FIELDS = (GENRES, PRICE, IS_NEW, PLOT, TITLE, CREATED)

TABLE = pa.table(
    {
        "genres": ["Drama", "Drama|Comedy", None, "Comedy"],
        "price": [1.0, 3.0, None, 5.0],
        "is_new": [True, None, False, True],
        "plot": ["A boy and a dog", "A boy", None, "the dog"],
        "title": ["Alpha", "Alpha 2", "Beta", None],
        "creation_timestamp": [100, 200, 300, None],
    }
)


def rows_of(bags):
    """Return the features of each row with their values."""
    bounds = zip(bags.offsets[:-1], bags.offsets[1:], strict=True)
    return [
        dict(zip(bags.nums[a:b].tolist(), bags.values[a:b].tolist(), strict=True))
        for a, b in bounds
    ]


def fit(*fields, **options):
    return fit_features([TABLE], fields, **{"min_rows": 1, **options})


def test_each_value_of_a_cell_is_a_feature():
    found = rows_of(fit(GENRES).encode(TABLE))  # Comedy is 1, Drama is 2
    assert found == [{2: 1.0}, {1: 1.0, 2: 1.0}, {0: 1.0}, {1: 1.0}]


def test_a_number_has_its_range_and_its_distance_from_the_mean():
    encoder = fit(PRICE)
    # The mean of 1, 3, 5 is 3, their standard deviation the root of 8/3; ranges 1, 2 and 3.
    far = float(np.float32(2 / np.sqrt(8 / 3)))
    found = rows_of(encoder.encode(TABLE))
    assert encoder.num_features == 5
    assert found == [{1: 1.0, 4: -far}, {2: 1.0, 4: 0.0}, {0: 1.0}, {3: 1.0, 4: far}]


def test_a_number_far_away_counts_as_three_standard_deviations():
    encoder = fit(PRICE)
    assert rows_of(encoder.encode(pa.table({"price": [1e9, -1e9]}))) == [
        {3: 1.0, 4: 3.0},
        {1: 1.0, 4: -3.0},
    ]


def test_a_time_of_creation_has_a_range_and_a_later_one_has_the_last():
    found = rows_of(fit(CREATED).encode(TABLE))
    later = rows_of(fit(CREATED).encode(pa.table({"creation_timestamp": [9_999]})))
    assert found == [{1: 1.0}, {2: 1.0}, {3: 1.0}, {0: 1.0}]
    assert later == [{3: 1.0}]


def test_prose_has_length_one_and_rare_words_weigh_more():
    titles = pa.table({"plot": ["ox", "ox elk", "ox elk"]})
    encoder = fit_features([titles], [PLOT], min_rows=1)
    # n-grams of "ox": itself, " ox", "ox "; of "elk": itself, " el", "elk", "lk "
    common, rare = np.log1p(3 / 3), np.log1p(3 / 2)
    length = np.sqrt(3 * common**2 + 4 * rare**2)
    found = [sorted(row.values()) for row in rows_of(encoder.encode(titles))]
    assert found[0] == pytest.approx([3**-0.5] * 3)
    assert found[1] == pytest.approx([common / length] * 3 + [rare / length] * 4)
    assert rows_of(encoder.encode(pa.table({"plot": ["yak", None]}))) == [{0: 1.0}, {0: 1.0}]


def test_what_stands_in_few_rows_is_not_told_apart():
    found = rows_of(fit(GENRES, TITLE, min_rows=2).encode(pa.table({"genres": ["Drama", "War"]})))
    assert [row.keys() for row in found] == [{2, 3}, {0, 3}]  # 3: nothing is known of the title
    assert fit(GENRES, min_rows=3).num_features == 1


def test_features_of_columns_are_counted_on():
    alone = [fit(field) for field in FIELDS]
    together = fit(*FIELDS)
    assert together.num_features == sum(one.num_features for one in alone)
    first, expected = 0, [{} for _ in range(len(TABLE))]
    for one in alone:
        for row, known in zip(expected, rows_of(one.encode(TABLE)), strict=True):
            row.update({first + num: value for num, value in known.items()})
        first += one.num_features
    assert rows_of(together.encode(TABLE)) == expected


def test_a_column_that_is_lacking_says_nothing():
    encoder = fit(*FIELDS)
    nothing = pa.table({"other": [1]})
    assert rows_of(encoder.encode(nothing)) == rows_of(encoder.encode_properties([{}]))
    assert len(rows_of(encoder.encode(nothing))[0]) == len(FIELDS)


def test_a_table_in_pieces_has_the_same_features():
    halves = [TABLE.slice(0, 1), TABLE.slice(1)]
    assert fit_features(halves, FIELDS, min_rows=1) == fit(*FIELDS)
    assert sum(len(piece) for piece in pieces(TABLE)) == len(TABLE)


OF_ALL = fit(*FIELDS)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["Drama", "Comedy", "War"]), max_size=3),
    st.none() | st.floats(-1e6, 1e6) | st.integers(-9, 9),
    st.none() | st.booleans(),
    st.sampled_from([None, "", "<b>A boy</b> &amp; the dog", "dog\ndog", "Ärger"]),
    st.sampled_from([None, "Alpha", "ALPHA  3"]),
    st.none() | st.integers(0, 400),
)
def test_a_cell_has_the_same_features_in_a_table_in_text_and_in_json(
    genres, price, is_new, plot, title, created
):
    encoder = OF_ALL
    typed = pa.table(
        {
            "genres": ["|".join(genres)],
            "price": pa.array([price], pa.float64()),
            "is_new": pa.array([is_new], pa.bool_()),
            "plot": pa.array([plot], pa.string()),
            "title": pa.array([title], pa.string()),
            "creation_timestamp": pa.array([created], pa.int64()),
        }
    )
    cells = ["|".join(genres), price, is_new, plot, title, created]
    spelt = [None if cell is None else str(cell) for cell in cells]
    text = pa.table([pa.array([cell], pa.string()) for cell in spelt], names=typed.column_names)
    said = {"GENRES": genres, "price": price, "isNew": is_new, "PLOT": plot, "movieTitle": title}
    said["creationTimestamp"] = created
    expected = rows_of(encoder.encode(typed))
    assert rows_of(encoder.encode(text)) == expected
    assert rows_of(encoder.encode_properties([json.loads(json.dumps(said))])) == expected


def test_nonsense_in_a_request_says_nothing():
    encoder = fit(*FIELDS)
    nonsense = {"GENRES": {"a": 1}, "PRICE": "dear", "IS_NEW": "maybe", "PLOT": [1], "x": 2}
    nonsense["creationTimestamp"] = -5
    assert rows_of(encoder.encode_properties([nonsense])) == rows_of(
        encoder.encode_properties([{}])
    )


def test_features_are_made_of_metadata_and_the_time_of_creation():
    fields = (Field("ITEM_ID", ValueType.STRING), CREATED, GENRES, PRICE, PLOT, PLAIN, TITLE)
    found = feature_fields(Schema(Kind.ITEMS, fields))
    assert found == (GENRES, PRICE, PLOT, TITLE, CREATED)


def test_an_encoder_survives_being_written_and_read(tmp_path):
    encoder = fit(*FIELDS)
    encoder.save(tmp_path / "features.json")
    opened = FeatureEncoder.open(tmp_path / "features.json")
    assert opened == encoder
    assert rows_of(opened.encode(TABLE)) == rows_of(encoder.encode(TABLE))
