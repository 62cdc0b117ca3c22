"""What an answer says of its items, and which past item speaks for each."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import InvalidInputError
from raysys.index.put_items import NOTHING_PUT
from raysys.serving.item_metadata import BECAUSE_OF, ItemMetadata
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.reasons import most_alike
from raysys.state.items import Changes, Item, StoredItem
from tests.unit.serving.world import HISTORIES, ITEM_IDS, World, embeddings, run

TABLE = pa.table(
    {
        "item_id": ["a", "b", "c"],
        "title": ["Alien", None, "Élan"],
        "year": [1979, 1986, None],
        "is_new": [True, False, None],
        "price": [0.1, 2.0, None],
        "creation_timestamp": [datetime(1970, 1, 2, tzinfo=UTC), None, None],
    }
)


def test_values_come_as_texts_by_the_names_that_were_asked_for() -> None:
    columns = ["TITLE", "Year", "IS_NEW", "price", "CREATION_TIMESTAMP", BECAUSE_OF]
    metadata = ItemMetadata(TABLE)
    metadata.check(columns)
    assert metadata.of([3, 1, -5, 2], columns) == [
        {"TITLE": "Élan"},
        {
            "TITLE": "Alien",
            "Year": "1979",
            "IS_NEW": "true",
            "price": "0.1",
            "CREATION_TIMESTAMP": "86400",
        },
        {},
        {"Year": "1986", "IS_NEW": "false", "price": "2.0"},
    ]


@pytest.mark.parametrize("name", ["ITEM_ID", "GENRE", ""])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"no column '{name}'.*TITLE, YEAR.*{BECAUSE_OF}"):
        ItemMetadata(TABLE).check(["TITLE", name])


def test_the_smallest_angle_speaks_most_and_of_equal_ones_the_newest() -> None:
    vectors = {
        1: np.array([1, 0], np.float32),
        2: np.array([9, 9], np.float32),
        3: np.array([0, 2], np.float32),
        4: np.array([0, 0], np.float32),
        5: np.array([5, 1], np.float32),
        6: np.array([0, 7], np.float32),
    }
    # 2 is far away in length but between both; 7 has no vector, 4 points nowhere.
    assert most_alike([5, 2, 6, 4, 7], [1, 3, 6, 4, 7], vectors) == [1, 6, 6, 0, 0]
    assert most_alike([5], [4, 7], vectors) == [0]
    assert most_alike([], [1], vectors) == []


def nearest_of(history: list[int], item_id: str) -> str:
    directions = embeddings() / np.linalg.norm(embeddings(), axis=1, keepdims=True)
    cosines = directions[np.array(history) - 1] @ directions[ITEM_IDS.index(item_id)]
    return ITEM_IDS[history[int(cosines.argmax())] - 1]


def test_answers_say_what_was_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def ask(user: str, *columns: str) -> Answer:
        return await world.engine.recommend(Query(user, None, 9, metadata_columns=columns))

    async def scenario() -> None:
        answer, plain, stranger = await asyncio.gather(
            ask("anna", "KIND", BECAUSE_OF), ask("anna"), ask("nobody", BECAUSE_OF)
        )
        assert plain.item_metadata is None
        assert answer.item_metadata == [
            {
                "KIND": world.release.item_table.column("kind")[ITEM_IDS.index(item)].as_py(),
                BECAUSE_OF: nearest_of(HISTORIES["anna"], item),
            }
            for item in answer.item_ids
        ]
        assert len({each[BECAUSE_OF] for each in answer.item_metadata}) > 1
        assert stranger.item_metadata == [{}] * 9
        ranking = RankQuery("anna", ["z", ITEM_IDS[9]], metadata_columns=(BECAUSE_OF,))
        ranked = await world.engine.rank(ranking)
        assert ranked.item_ids == [ITEM_IDS[9], "z"]
        assert ranked.item_metadata == [
            {BECAUSE_OF: nearest_of(HISTORIES["anna"], ITEM_IDS[9])},
            {},
        ]
        for asking in (
            ask("anna", "COLOUR"),
            world.engine.rank(RankQuery("u", ["i"], metadata_columns=["COLOUR"])),
        ):
            with pytest.raises(InvalidInputError, match="no column 'COLOUR'"):
                await asking

    run(world, scenario)


def test_of_items_that_were_put_since_the_newest_put_tells(tmp_path: Path) -> None:
    world = World(tmp_path, exclude_seen=False)
    world.put(
        Item("new", '{"like": 3, "KIND": "round", "size": 7}'),
        Item(ITEM_IDS[0], '{"kind": "flat"}'),
    )

    async def scenario() -> None:
        columns = ("Kind", "SIZE", BECAUSE_OF)
        query = Query("anna", None, 61, metadata_columns=columns)
        answer = await world.engine.recommend(query)
        said = dict(zip(answer.item_ids, answer.item_metadata or [], strict=True))
        # Its vector is that of i02, the third item, which anna has seen last.
        assert said["new"] == {"Kind": "round", "SIZE": "7", BECAUSE_OF: ITEM_IDS[2]}
        assert said[ITEM_IDS[0]] == {"Kind": "flat", BECAUSE_OF: ITEM_IDS[0]}
        assert said[ITEM_IDS[4]]["SIZE"] == "4"

    run(world, scenario)


def test_the_creation_is_what_the_put_names_or_of_a_known_item_what_the_release_knew() -> None:
    put = NOTHING_PUT.with_changes(
        Changes(
            1,
            [
                StoredItem("a", '{"title": "Aliens"}', 5_000_000),
                StoredItem("b", '{"creationTimestamp": 7}', 7_000_000),
                StoredItem("z", None, 9_000_000),
            ],
            [],
        ),
        Vocabulary.from_ids(["a", "b", "c"]),
    )
    (new,) = put.new
    columns = ["CREATION_TIMESTAMP", "TITLE"]
    assert ItemMetadata(TABLE).of([1, 2, 3, new], columns, put) == [
        {"CREATION_TIMESTAMP": "86400", "TITLE": "Aliens"},
        {"CREATION_TIMESTAMP": "7"},
        {"TITLE": "Élan"},
        {"CREATION_TIMESTAMP": "9"},
    ]
