"""Context becomes categories, and a request's context the same ones."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.categories import MISSING
from raysys.dataset.context import NO_CONTEXT, ContextEncoder, fit_context
from raysys.logs.schema import Field, ValueType

DEVICE = Field("DEVICE_TYPE", ValueType.STRING, is_nullable=True, is_categorical=True)
CHILD = Field("IS_CHILD", ValueType.BOOLEAN, is_nullable=True)
ROOM = Field("ROOM", ValueType.INT, is_nullable=True, is_categorical=True)
SECONDS = Field("SECONDS", ValueType.DOUBLE, is_nullable=True)
FIELDS = (DEVICE, CHILD, ROOM, SECONDS)

TABLE = pa.table(
    {
        "device_type": ["tv", "phone|tv", None, "phone"],
        "is_child": [True, None, False, True],
        "room": [7, 10, None, 7],
        "seconds": [0.5, 1.5, None, 9.0],
    }
)


def lists(categories):
    """Return the categories of each row as a list."""
    bounds = zip(categories.offsets[:-1], categories.offsets[1:], strict=True)
    return [categories.nums[start:end].tolist() for start, end in bounds]


def test_values_are_numbered_from_one_in_the_order_of_their_bytes():
    encoder = fit_context([TABLE], FIELDS)
    found = {name: lists(one) for name, one in encoder.encode(TABLE).items()}
    assert found == {
        "device_type": [[2], [1, 2], [0], [1]],  # phone is 1, tv is 2
        "is_child": [[2], [0], [1], [2]],  # false is 1, true is 2
        "room": [[2], [1], [0], [2]],  # "10" comes before "7"
        "seconds": [[1], [2], [0], [3]],
    }
    assert [one.num_categories for one in encoder.columns] == [3, 3, 3, 4]


def test_what_was_not_seen_and_what_is_missing_are_one_category():
    encoder = fit_context([TABLE], [DEVICE])
    new = pa.table({"device_type": ["watch", "tv|watch", "|tv|", "||", "", None]})
    assert lists(encoder.encode(new)["device_type"]) == [[0], [2, 0], [2], [0], [0], [0]]
    assert lists(encoder.encode(pa.table({"other": [1, 2]}))["device_type"]) == [[0], [0]]
    assert MISSING == 0


def test_only_the_most_frequent_values_are_told_apart():
    table = pa.table({"device_type": ["c", "c", "b", "a", "b", "d"]})
    encoder = fit_context([table], [DEVICE], max_categories=3)
    assert encoder.columns[0].values == ("a", "b", "c")  # a and d are equally rare


def test_ranges_hold_about_as_many_values_each():
    table = pa.table({"seconds": np.random.default_rng(1).permutation(np.arange(8_000.0))})
    encoder = fit_context([table.slice(0, 3_000), table.slice(3_000)], [SECONDS], num_ranges=8)
    nums = encoder.encode(table)["seconds"].nums
    assert np.bincount(nums).tolist() == pytest.approx([0, *[1_000] * 8], abs=1)


def test_numbers_beyond_all_that_were_seen_belong_to_the_outer_ranges():
    encoder = fit_context([TABLE], [SECONDS])
    nums = encoder.encode(pa.table({"seconds": [-1e9, 1e9]}))["seconds"].nums
    assert nums.tolist() == [1, 3]


def test_a_column_without_any_value_has_a_category_for_it():
    table = pa.table({"device_type": pa.nulls(2, pa.string()), "seconds": [None, float("nan")]})
    encoder = fit_context([table], [DEVICE, SECONDS])
    assert {name: lists(one) for name, one in encoder.encode(table).items()} == {
        "device_type": [[0], [0]],
        "seconds": [[0], [0]],
    }


def test_a_request_names_columns_as_an_event_does_and_may_say_anything():
    encoder = fit_context([TABLE], FIELDS)
    assert encoder.encode_request({"deviceType": "tv", "IS_CHILD": "TRUE", "room": "7.0"}) == {
        "device_type": [2],
        "is_child": [2],
        "room": [2],
        "seconds": [0],
    }
    nonsense = {"SECONDS": "soon", "ROOM": "7.5", "IS_CHILD": "yes", "DEVICE_TYPE": "\0", "X": "1"}
    assert set(map(tuple, encoder.encode_request(nonsense).values())) == {(MISSING,)}


@given(
    st.sampled_from(["tv", "phone|tv", "phone", "watch"]),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_value_is_the_same_category_in_a_shard_and_in_a_request(device, child, room, seconds):
    encoder = fit_context([TABLE], FIELDS)
    row = pa.table(
        {
            "device_type": [device],
            "is_child": [child],
            "room": pa.array([room], pa.int64()),
            "seconds": [seconds],
        }
    )
    asked = {"DEVICE_TYPE": device, "IS_CHILD": str(child), "ROOM": str(room)}
    asked["SECONDS"] = repr(seconds)
    assert encoder.encode_request(asked) == {
        name: one.nums.tolist() for name, one in encoder.encode(row).items()
    }


def test_an_encoder_survives_being_written_and_read(tmp_path):
    encoder = fit_context([TABLE], FIELDS)
    encoder.save(tmp_path / "context.json")
    assert ContextEncoder.open(tmp_path / "context.json") == encoder


def test_the_code_of_a_context_has_a_digit_for_each_column_and_0_where_all_is_missing():
    encoder = fit_context([TABLE], FIELDS)
    assert encoder.sizes == (3, 3, 3, 4)
    # Digits, the lowest first: tv 2, true 2, 7 is 2, 1; of "phone|tv" the first, 1; and so on.
    by_hand = [2 + 3 * 2 + 9 * 2 + 27 * 1, 1 + 3 * 0 + 9 * 1 + 27 * 2, 0 + 3, 1 + 3 * 2 + 18 + 81]
    assert encoder.codes(TABLE).tolist() == by_hand
    assert encoder.codes(pa.table({"other": [1, 2]})).tolist() == [0, 0]


def test_the_code_of_a_request_is_that_of_the_log():
    encoder = fit_context([TABLE], FIELDS)
    asked = {"deviceType": "tv", "IS_CHILD": "true", "room": "7", "seconds": "0.5"}
    assert encoder.code_of_request(asked) == encoder.codes(TABLE)[0]
    assert encoder.code_of_request({"deviceType": "watch", "unheard": "of"}) == 0
    assert NO_CONTEXT.code_of_request(asked) == 0


def test_codes_of_five_full_columns_fit_64_bits():
    assert 6_001**5 < 2**63
