"""Types and times of events, from the log to what is encoded for a visitor, and in updates."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raysys.commands.building import build_release
from raysys.commands.console import Console
from raysys.commands.going_on import carried_over, open_update
from raysys.commands.released_model import ReleasedModel
from raysys.config import (
    GruConfig,
    IndexConfig,
    PipelineConfig,
    SequenceConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.dataset import open_dataset
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import offsets_of
from raysys.filters.binding import EventTypes as AskedTypes
from raysys.filters.expression import Condition
from raysys.models.encode import encode_histories
from raysys.release import Release
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.exchange import EncodeRequest
from raysys.serving.past_items import items_of_types
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import Visitors
from raysys.state.user_state import Interaction, UserState
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import TypedRow, write_dataset

USERS = ("kim", "lea", "max")
SECOND_US = 1_000_000
OLD: list[TypedRow] = [
    (user, "bcdefgh"[(start + step) % 7], SECOND_US * (step**3 + start), ("view", "buy")[step % 2])
    for start, user in enumerate(USERS)
    for step in range(6)
]
NEW: list[TypedRow] = [
    ("kim", "b", 500 * SECOND_US, "buy"),
    ("kim", "h", 501 * SECOND_US, "rent"),
    ("lea", "b", 3 * SECOND_US, "view"),  # late: it takes its place among the old ones
    ("new", "c", 501 * SECOND_US, "view"),
    ("new", "d", 90_000 * SECOND_US, "view"),
]
MODELS: list[SequenceConfig] = [
    GruConfig(hidden_dimension=16, history_length=5, time_gaps=True),
    TransformerConfig(hidden_dimension=16, history_length=5, time_gaps=True),
]


def dataset(path: Path, rows: list[TypedRow]) -> Path:
    return write_dataset(path, [sorted(rows, key=lambda row: (row[0], row[2]))])


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.kind)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    work = tmp_path_factory.mktemp("typed")
    return released(work, OLD, PipelineConfig(model=request.param))


def released(work: Path, rows: list[TypedRow], config: PipelineConfig) -> Release:
    config = config.model_copy(update={"index": IndexConfig(num_partitions=2)})
    return release_untrained(dataset(work / "old", rows), work / "releases", config)


def served(release: Release, users: list[str]) -> NDArray[np.float32]:
    """Return what is encoded for users whose newer events are in the database alone."""
    parts = ReleaseParts.load(release)
    visitors = Visitors(
        parts.items,
        parts.histories,
        parts.feedback,
        parts.event_types,
        history_length=parts.history_length,
        max_seen_items=9,
        max_cached=9,
    )
    told = {
        user: tuple(
            Interaction(item, at_us, kind or "") for who, item, at_us, kind in NEW if who == user
        )
        for user in users
    }
    found = visitors.look_up(users, {user: UserState(1, told[user]) for user in users})
    asked = [found[user] for user in users]
    request = EncodeRequest(
        release.name,
        users,
        offsets_of([len(each.item_nums) for each in asked]),
        np.concatenate([each.item_nums for each in asked]),
        np.concatenate([each.occurred_at_us for each in asked]),
        np.concatenate([each.event_types for each in asked]),
        np.zeros(len(users), np.int64),
    )
    return ReleaseEncoder.load(release).encode(request)


def evaluated(release: Release, rows: list[TypedRow], work: Path) -> NDArray[np.float32]:
    """Return what evaluation encodes for the users of a log, in order."""
    model = ReleasedModel(release)
    log = open_dataset(dataset(work / "log", rows))
    histories = log.histories(model.items, event_types=model.event_types)
    return encode_histories(model.model, histories.inputs())


def test_what_happened_since_is_encoded_for_serving_as_evaluation_encodes_the_log(
    release: Release, tmp_path: Path
) -> None:
    users = [*USERS, "new"]
    found = served(release, users)
    assert np.array_equal(found, evaluated(release, [*OLD, *NEW], tmp_path))
    # Types and times matter here: without them it would be another vector.
    plain: list[TypedRow] = [(*row[:3], "view") for row in [*OLD, *NEW]]
    differs = (found != evaluated(release, plain, tmp_path / "plain")).any(axis=1)
    assert differs.tolist() == [True, True, True, False]


def test_the_histories_of_a_release_have_the_types_of_its_log(release: Release) -> None:
    parts = ReleaseParts.load(release)
    assert parts.event_types == EventTypes(names=("buy", "view"))  # as frequent, so by name
    assert parts.histories.event_types is not None
    assert parts.histories.event_types.tolist() == [2, 1] * 9


def test_an_update_gives_a_new_type_a_number_of_its_own_and_known_ones_keep_theirs(
    release: Release, tmp_path: Path
) -> None:
    update = open_update(release, dataset(tmp_path / "both", [*OLD, *NEW]))
    assert update.material.event_types == EventTypes(names=("buy", "view", "rent"))
    made, _ = build_release(
        update.material,
        tmp_path / "releases",
        update.config,
        recipe="custom",
        write_model=carried_over(update),
        console=Console(as_json=True),
    )
    assert ReleasedModel(made).model.num_event_types == 3
    # Nothing was learnt: a new type says as little as an unknown one.
    both = evaluated(made, [*OLD, *NEW], tmp_path)
    assert np.array_equal(both, evaluated(release, [*OLD, *NEW], tmp_path / "again"))


def test_a_log_of_one_type_has_no_types_and_an_update_may_bring_some(tmp_path: Path) -> None:
    views: list[TypedRow] = [(*row[:3], "view") for row in OLD]
    release = released(tmp_path, views, PipelineConfig(model=MODELS[0]))
    assert ReleaseParts.load(release).event_types == NO_EVENT_TYPES
    assert ReleaseParts.load(release).histories.event_types is None
    assert ReleasedModel(release).model.num_event_types == 0
    update = open_update(release, dataset(tmp_path / "both", [*views, *NEW]))
    assert update.material.event_types == EventTypes(names=("view", "buy", "rent"))


@pytest.mark.parametrize(
    "model", [GruConfig(event_types=False), TwoTowerConfig()], ids=["unwanted", "two_tower"]
)
def test_types_are_not_looked_for_where_the_model_does_not_read_them(
    model: GruConfig | TwoTowerConfig, tmp_path: Path
) -> None:
    release = released(tmp_path, OLD, PipelineConfig(model=model))
    assert ReleaseParts.load(release).event_types == NO_EVENT_TYPES
    assert ReleaseParts.load(release).histories.event_types is None


@pytest.mark.parametrize("reads_types", [True, False])
def test_filters_know_the_types_of_interactions_whatever_the_model_reads(
    tmp_path: Path, reads_types: bool
) -> None:
    model = GruConfig(hidden_dimension=16, history_length=5, event_types=reads_types)
    parts = ReleaseParts.load(released(tmp_path, OLD, PipelineConfig(model=model)))
    assert bool(parts.event_types.names) == reads_types
    is_asked = AskedTypes(((Condition("Interactions", "EVENT_TYPE", "IN", ("BUY",)),),))
    # Every second step of a user is a purchase; the database tells of one more.
    state = UserState(1, (Interaction("h", 0, "Buy"), Interaction("b", 0, "view")))
    for start, user in enumerate(USERS):
        row = int(parts.histories.rows_of([user])[0])
        nums, keys = items_of_types(parts, is_asked, row, state)
        bought = {"bcdefgh"[(start + step) % 7] for step in (1, 3, 5)} | {"h"}
        assert set(parts.items.ids_of(nums)) == bought
        assert not len(keys)
