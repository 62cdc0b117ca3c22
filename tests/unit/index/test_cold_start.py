"""Vectors of items from what is known of them: planted truths, values by hand, hostile input."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raysys.errors import DamagedReleaseError
from raysys.index.cold_start import ColdStart, fit_cold_start
from raysys.release import COLD_START_WEIGHTS
from tests.unit.index.releases import publish

DIM = 16
MANY = 1_000_000  # interactions that make a vector certain: weight 0.99999


def table(**columns: list[Any]) -> pa.Table:
    size = len(next(iter(columns.values())))
    ids = pa.array([f"i{number}" for number in range(size)])
    title = {"title": pa.nulls(size, pa.string())} if "title" not in columns else {}
    return pa.table({"item_id": ids, **title, **columns})


def fitted(values: list[float], counts: list[int], **columns: list[Any]) -> ColdStart:
    """Fit vectors of width 1."""
    vectors = np.array(values, np.float32)[:, None]
    return fit_cold_start(vectors, table(**columns), np.array(counts))


def value(cold: ColdStart, **properties: Any) -> float:
    return float(cold.vectors([properties])[0, 0])


def test_a_new_item_is_ranked_high_for_those_who_like_its_kind_and_low_for_others() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(["Horror", "Romance"], 60)
    centres = {"Horror": np.eye(DIM)[0] * 3, "Romance": np.eye(DIM)[1] * 3}
    learnt = np.stack([centres[kind] for kind in kinds]) + rng.normal(size=(120, DIM)) * 0.5
    mixed = [f"{kind}|Drama" if row % 3 else kind for row, kind in enumerate(kinds)]
    cold = fit_cold_start(
        learnt.astype(np.float32), table(genres=mixed), rng.integers(20, 200, 120)
    )
    horror, romance = cold.vectors([{"genres": "Horror|Drama"}, {"GENRES": "Romance"}])
    likes_horror = centres["Horror"].astype(np.float32)
    scores = learnt @ likes_horror
    assert (scores[60:] < likes_horror @ horror).all()  # before every romance film
    assert likes_horror @ horror > np.quantile(scores[:60], 0.2)  # amid the horror films
    assert likes_horror @ romance < np.quantile(scores, 0.6)


def test_the_regression_is_ridge_with_an_intercept_that_is_not_shrunk() -> None:
    # Six items of weight 10 / (10 + 10) = 0.5; the three of genre x have the value 1, others 0:
    #   (1.5 + 10) b + 1.5 a = 1.5  and  1.5 b + 3 a = 1.5,  so b = 0.75 / 10.75, a = (1 - b) / 2.
    cold = fitted([1, 1, 1, 0, 0, 0], [10] * 6, genres=["x", "x", "x", None, None, None])
    slope = 0.75 / 10.75
    assert value(cold, genres="x") == pytest.approx((1 - slope) / 2 + slope, abs=1e-6)
    assert value(cold) == pytest.approx((1 - slope) / 2, abs=1e-6)


def test_an_item_counts_by_how_certain_its_vector_is_and_not_at_all_without_interactions() -> None:
    # Weights 0.5, 0.75 and 0: the intercept alone is (0.5 * 1 + 0.75 * 2) / 1.25.
    cold = fitted([1, 2, 100], [10, 30, 0], genres=["a", "b", "c"])
    assert value(cold) == pytest.approx(2 / 1.25, abs=1e-5)


def test_a_truth_value_is_a_feature_however_it_is_written() -> None:
    cold = fitted([1.0] * 9 + [-1.0] * 9, [MANY] * 18, for_children=[True] * 9 + [False] * 9)
    assert value(cold, forChildren=True) == pytest.approx(9 / 19, abs=1e-4)
    assert value(cold, forChildren="TRUE") == value(cold, for_children=True)
    assert value(cold, forChildren=False) == pytest.approx(-9 / 19, abs=1e-4)


def test_names_may_be_written_in_camel_case_and_unknown_ones_are_passed_over() -> None:
    columns = {"main_genre": ["x"] * 9 + ["y"] * 9}
    cold = fitted([1.0] * 9 + [-1.0] * 9, [MANY] * 18, **columns)
    for name in ("main_genre", "mainGenre", "MAIN_GENRE"):
        assert value(cold, **{name: "X"}) == pytest.approx(9 / 19, abs=1e-4)
    assert value(cold, genre="x") == value(cold, mainGenre="z") == value(cold)


def test_a_cell_holds_several_values_and_a_title_several_words() -> None:
    titles = ["Alien (1979)", "Alien Again", "The Alien!", "Love", "My Love", "Love, Love"] * 3
    genres = ["a|b", "a", "b", "c", "c", "c"] * 3
    cold = fitted([1.0, 1, 1, -1, -1, -1] * 3, [MANY] * 18, title=titles, genres=genres)
    assert value(cold, title="ALIEN: a sequel") > 0.1 > -0.1 > value(cold, title="Endless love")
    assert value(cold, genres="b | a") > value(cold, genres="a") > value(cold)
    assert value(cold, genres=["a", "b"]) == value(cold, genres="a|b|a")


def test_numbers_are_standardised_and_go_no_farther_than_three_deviations() -> None:
    # Prices -1 and 1 around 100 with deviation 1, value = (price - 100): the slope is 18 / 28.
    cold = fitted([-1.0, 1.0] * 9, [MANY] * 18, price=[99, 101] * 9)
    slope = 18 / 28
    assert value(cold, price=101) == pytest.approx(slope, abs=1e-3)
    assert value(cold, price="100.5") == pytest.approx(slope / 2, abs=1e-3)
    assert value(cold, price=1e9) == pytest.approx(3 * slope, abs=1e-3)
    assert value(cold, price=None) == pytest.approx(0, abs=1e-3)


def test_rare_tokens_constant_numbers_and_the_creation_time_are_no_features() -> None:
    size = 12
    columns: dict[str, list[Any]] = {
        "genres": ["rare", "rare"] + ["common"] * (size - 2),
        "price": [5] * size,
        "creation_timestamp": list(range(size)),
    }
    cold = fitted([1.0] * size, [5] * size, **columns)
    assert cold.num_features == 1
    assert fitted([1.0] * size, [5] * size, tags=["a|a|a"] + ["b"] * 11).num_features == 1


def test_of_many_tokens_the_2_048_commonest_are_kept() -> None:
    tags = ["|".join(f"t{number}" for number in range(3_000))] * 3 + ["t2999"]
    cold = fitted([1.0, 1, 1, 5], [MANY] * 4, tags=tags)
    assert cold.num_features == 2_048
    assert value(cold, tags="t2999") > value(cold)


def test_an_items_vector_does_not_depend_on_the_items_beside_it() -> None:
    rng = np.random.default_rng(1)
    tags = ["|".join(f"t{n}" for n in rng.choice(40, 9, replace=False)) for _ in range(300)]
    cold = fit_cold_start(
        rng.normal(size=(300, DIM)).astype(np.float32), table(tags=tags), np.full(300, 9)
    )
    asked = [{"tags": text} for text in tags]
    whole = cold.vectors(asked)
    assert whole.dtype == np.float32
    for row in (0, 17, 299):
        assert cold.vectors(asked[row : row + 1])[0].tolist() == whole[row].tolist()


@pytest.mark.parametrize(
    "properties",
    [
        {"genres": None, "price": None},
        {"genres": {"a": 1}, "price": [1]},
        {"genres": [None, 3, "x"], "price": True},
        {"genres": float("nan"), "price": float("nan")},
        {"genres": 10**400, "price": 10**400},
        {"genres": "|||", "price": "one", "title": ""},
        {"": "", "title": 5, "price": "1e999"},
    ],
)
def test_whatever_a_client_says_of_an_item_gives_a_finite_vector(properties: Any) -> None:
    columns: dict[str, list[Any]] = {"genres": ["x", "x", "x", "y"], "price": [1.0, 2, 3, 4]}
    cold = fitted([1.0, 2, 3, 4], [9] * 4, **columns)
    assert np.isfinite(cold.vectors([properties])).all()


def test_without_any_interaction_every_vector_is_zero() -> None:
    cold = fitted([1.0, 2.0], [0, 0], genres=["x", "y"])
    assert cold.vectors([{"genres": "x"}, {}]).tolist() == [[0.0], [0.0]]
    assert cold.vectors([]).shape == (0, 1)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 vectors, 3 rows of the item table and 2 counts"):
        fit_cold_start(np.zeros((2, DIM), np.float32), table(genres=["x"] * 3), np.ones(2))


@pytest.fixture
def cold() -> ColdStart:
    rng = np.random.default_rng(2)
    columns: dict[str, list[Any]] = {"genres": ["x", "y", "x|y"] * 3, "price": list(range(9))}
    vectors = rng.normal(size=(9, DIM)).astype(np.float32)
    return fit_cold_start(vectors, table(**columns), np.full(9, 4))


def test_a_published_release_gives_the_vectors_that_were_fitted(
    cold: ColdStart, tmp_path: Path
) -> None:
    asked = [{"genres": "x", "price": 3}, {"genres": "y"}, {}]
    opened = ColdStart.open(publish(tmp_path, cold))
    assert opened.vectors(asked).tolist() == cold.vectors(asked).tolist()


def test_altered_weights_are_refused_by_name(cold: ColdStart, tmp_path: Path) -> None:
    release = publish(tmp_path, cold)
    path = release.path / COLD_START_WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedReleaseError, match="cold_start/weights.npy"):
        ColdStart.open(release)


def test_weights_of_another_width_are_refused(cold: ColdStart, tmp_path: Path) -> None:
    with pytest.raises(DamagedReleaseError, match="cannot place new items"):
        ColdStart.open(publish(tmp_path, cold, embedding_dim=32))
