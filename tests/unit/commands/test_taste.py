"""The demo's events are of a taste that the user has not shown."""

import numpy as np
import pyarrow as pa

from raysys.commands.taste import Catalogue

# Nine items of each genre; item "a0" has the most interactions of genre A, and so on.
IDS = [f"{genre}{place}" for genre in "abc" for place in range(9)]
COUNTS = np.array([100 - place for _ in "abc" for place in range(9)], dtype=np.int64)
ITEMS = pa.table(
    {
        "item_id": IDS,
        "title": [f"Title {item_id}" for item_id in IDS[:-1]] + [None],
        "genres": [{"a": "Action", "b": "Ballet|Drama", "c": "Comedy"}[i[0]] for i in IDS],
    }
)


def test_the_rarest_genre_of_a_history_is_chosen_with_its_most_popular_unseen_items() -> None:
    catalogue = Catalogue(ITEMS, IDS)
    history = ["a0", "a1", "a2", "c0", "c1"]
    taste = catalogue.different_taste(history, COUNTS, num_items=3)
    assert taste is not None
    assert taste.genre == "Ballet"  # as rare as Drama, and first by name
    assert taste.share_of_history == 0
    assert taste.item_ids == ["b0", "b1", "b2"]


def test_seen_items_of_the_genre_are_left_out_and_counted() -> None:
    catalogue = Catalogue(ITEMS, IDS)
    history = ["b0", "b0", *["a1"] * 10, *["c1"] * 8]
    taste = catalogue.different_taste(history, COUNTS, num_items=2)
    assert taste is not None
    assert taste.genre == "Ballet"
    assert taste.share_of_history == 2 / 20
    assert taste.item_ids == ["b1", "b2"]


def test_without_genres_there_is_no_taste_and_titles_fall_back_to_ids() -> None:
    catalogue = Catalogue(None, IDS)
    assert catalogue.different_taste(["a0"], COUNTS) is None
    assert catalogue.title("a0") == "a0"
    assert Catalogue(ITEMS, IDS).title("a0") == "Title a0"
    assert Catalogue(ITEMS, IDS).title("c8") == "c8"
