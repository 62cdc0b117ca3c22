"""What a release holds of a dataset is what one memory would write of it, byte for byte."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys.commands.material import Material
from raysys.config import EventType, FeedbackConfig, GruConfig, PipelineConfig, TwoTowerConfig
from raysys.dataset import dataset as dataset_module
from raysys.dataset import histories as histories_module
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.dataset import shard_histories
from raysys.dataset.event_types import NO_EVENT_TYPES
from raysys.dataset.interaction_types import InteractionTypes
from raysys.dataset.item_table import open_item_table
from raysys.dataset.vocabulary import Vocabulary
from raysys.release import INTERACTION_TYPE_NUMS, INTERACTION_TYPES, USER_TABLE
from tests.unit.dataset.builders import Row, TypedRow, concatenated, interactions, write_dataset

SHARDS: list[list[Row]] = [
    [(f"u{user:02}", f"i{n * user % 11:02}", 9 * n) for user in users for n in range(1 + user % 6)]
    for users in (range(0, 30, 3), [], range(2, 30, 3), range(1, 30, 3))
]
ITEMS = pa.table(
    {"item_id": ["i03", "?", "i00"], "title": ["three", "no item", None], "year": [3, 9, None]}
)


@pytest.fixture(params=[1 << 20, 7])
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """The files of a release draft, with everything in one block and in many."""
    for module in (dataset_module, histories_module):
        monkeypatch.setattr(module, "BLOCK_INTERACTIONS", request.param)
    path = write_dataset(tmp_path / "data", SHARDS, ITEMS)
    (tmp_path / "draft").mkdir()
    Material.of(path).write(tmp_path / "draft")
    files = (path for path in (tmp_path / "draft").rglob("*") if path.is_file())
    return {str(path.relative_to(tmp_path / "draft")): path.read_bytes() for path in files}


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_every_file_is_as_from_one_memory(written: dict[str, bytes], tmp_path: Path) -> None:
    rows = [row for shard in SHARDS for row in shard]
    items = Vocabulary.from_ids(item for _, item, _ in rows)
    items.save(tmp_path / "items")
    Vocabulary.from_ids(user for user, _, _ in rows).save(tmp_path / "users")
    NO_EVENT_TYPES.save(tmp_path / "types")
    NO_CONTEXT.save(tmp_path / "context")
    histories = concatenated([shard_histories(interactions(each), items) for each in SHARDS])
    histories.save(tmp_path / "histories")
    names = items.ids.to_pylist()
    table = pa.table({"item_id": items.ids})
    for name in ("title", "year"):
        given = dict(zip(ITEMS["item_id"].to_pylist(), ITEMS[name].to_pylist(), strict=True))
        values = pa.array([given.get(item) for item in names], ITEMS[name].type)
        table = table.append_column(name, values)
    with pa.ipc.new_file(str(tmp_path / "table"), table.schema) as sink:
        sink.write_table(table)
    counts = [sum(item == name for _, item, _ in rows) for name in names]
    created = [min(time for _, item, time in rows if item == name) for name in names]
    newest = max(time for _, _, time in rows)
    assert written == {
        "vocabulary/items.arrow": (tmp_path / "items").read_bytes(),
        "vocabulary/users.arrow": (tmp_path / "users").read_bytes(),
        "vocabulary/event_types.json": (tmp_path / "types").read_bytes(),
        "vocabulary/context.json": (tmp_path / "context").read_bytes(),
        # The log of these rows names no type.
        "vocabulary/interaction_types.json": (tmp_path / "types").read_bytes(),
        "interaction_types.npy": array(np.zeros(len(rows), np.int16)),
        "histories.arrow": (tmp_path / "histories").read_bytes(),
        "items.arrow": (tmp_path / "table").read_bytes(),
        "popularity.npy": array(np.array([0, *counts])),
        "created_at.npy": array(np.array([newest, *created])),
    }


def test_users_with_too_few_interactions_get_no_number_and_keep_their_history(
    tmp_path: Path,
) -> None:
    path = write_dataset(tmp_path / "data", SHARDS)
    config = PipelineConfig(model=TwoTowerConfig(min_user_count=5))
    material = Material.of(path, config)
    kept = [f"u{user:02}" for user in range(30) if 1 + user % 6 >= 5]
    assert material.users.ids.to_pylist() == kept
    assert len(material.histories) == 30
    assert Material.of(path, PipelineConfig()).users.hash == Material.of(path).users.hash


def test_only_interactions_that_count_earn_a_user_a_number(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "data", SHARDS)
    buys = FeedbackConfig(event_types=(EventType(event_type="buy"),))  # the log has none
    config = PipelineConfig(model=TwoTowerConfig(min_user_count=5), feedback=buys)
    material = Material.of(path, config)
    assert material.users.ids.to_pylist() == []
    assert material.histories.num_interactions == sum(len(shard) for shard in SHARDS)


def typed(*names: str | None) -> list[list[TypedRow]]:
    """Return interactions of two users with one item each, in two shards."""
    rows: list[TypedRow] = [
        ("u1" if n % 2 else "u2", f"i{n}", n, name)  # type: ignore[misc]
        for n, name in enumerate(names)
    ]
    return [[row for row in rows if row[0] == user] for user in ("u2", "u1")]


@pytest.mark.parametrize(
    ("model", "feedback", "names", "expected", "read"),
    [
        # Users are in order, so those of u1 come first: 1, 3, then 0, 2, 4.
        (TwoTowerConfig(), {}, ("view", "buy", None, "view", "view"), ("view", "buy"), ()),
        (GruConfig(), {}, ("view", "view", "view"), ("view",), ()),
        (GruConfig(), {}, ("view", "buy", None, "view"), ("view", "buy"), ("view", "buy")),
        # What is only seen has a type too, which models of histories do not read.
        (
            GruConfig(),
            {"event_types": [{"event_type": "view"}, {"event_type": "buy"}]},
            ("hide", "buy", "view", "view", "hide", "hide"),
            ("hide", "view", "buy"),
            None,
        ),
        (GruConfig(), {}, (None, None), (), ()),
    ],
)
def test_the_type_of_every_interaction_is_kept_whatever_the_model_reads(
    tmp_path: Path,
    model: TwoTowerConfig | GruConfig,
    feedback: dict[str, object],
    names: tuple[str | None, ...],
    expected: tuple[str, ...],
    read: tuple[str, ...] | None,
) -> None:
    path = write_dataset(tmp_path / "data", typed(*names))
    config = PipelineConfig(model=model, feedback=FeedbackConfig.model_validate(feedback))
    material = Material.of(path, config)
    if read is not None:
        assert material.event_types.names == read
        assert (material.histories.event_types is None) == (not read)
    (tmp_path / "draft").mkdir()
    material.write(tmp_path / "draft")
    files = (tmp_path / "draft" / name for name in (INTERACTION_TYPES, INTERACTION_TYPE_NUMS))
    kept = InteractionTypes.open(*files)
    assert kept.types.names == expected
    found = [(None, *expected)[num] for num in kept.nums.tolist()]
    assert found == [*names[1::2], *names[0::2]]


def test_what_is_known_of_users_stands_in_the_order_of_the_histories(tmp_path: Path) -> None:
    users = pa.table({"user_id": ["u2", "stranger", "u1"], "age": [2, 3, 1]})
    path = write_dataset(tmp_path / "data", typed(*["view"] * 4), users=users)
    (tmp_path / "draft").mkdir()
    material = Material.of(path, PipelineConfig(model=TwoTowerConfig(min_user_count=50)))
    material.write(tmp_path / "draft")
    table = open_item_table(tmp_path / "draft" / USER_TABLE)
    assert table.to_pydict() == {"user_id": ["u1", "u2"], "age": [1, 2]}
    assert material.histories.user_ids.to_pylist() == ["u1", "u2"]
