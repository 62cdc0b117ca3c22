import pytest

from raysys.config import GruConfig, PipelineConfig
from raysys.errors import ConfigError
from raysys.recipes import TWO_TOWER, USER_PERSONALIZATION, Hyperparameter, Recipe
from raysys.training.space import Choice, Range, Space, with_hyperparameters

DIALS = Recipe(
    "dials",
    "",
    PipelineConfig(),
    (
        Hyperparameter("dropout", 0.5, 0.0, 0.9),
        Hyperparameter("bptt", 32, 2, 32),
        Hyperparameter("history_length", 128, 1, 4096, tunable=False),
    ),
)


def test_without_a_word_everything_that_the_recipe_lets_tune_is_searched() -> None:
    assert Space.of(USER_PERSONALIZATION).dimensions == {
        "hidden_dimension": Range(32, 256),
        "bptt": Range(2, 32),
        "recency_mask": Choice((True, False)),
    }
    assert Space.of(TWO_TOWER).dimensions == {"embedding_dim": Range(8, 256)}


def test_a_space_is_read_as_people_write_it_and_shown_so() -> None:
    written = ["hidden_dimension=64:128", "bptt=8,16", "recency_mask=false"]
    space = Space.of(USER_PERSONALIZATION, written)
    assert space.dimensions == {
        "hidden_dimension": Range(64, 128),
        "bptt": Choice((8, 16)),
        "recency_mask": Choice((False,)),
    }
    assert sorted(f"{name}={text}" for name, text in space.to_json().items()) == sorted(written)


def test_a_whole_number_does_for_a_hyperparameter_that_is_none() -> None:
    assert Space.of(DIALS, ["dropout=0:0.5"]).dimensions == {"dropout": Range(0.0, 0.5)}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("hidden_dimension=16:64", r"cannot take '16'.*in \[32, 256\], whole numbers"),
        ("hidden_dimension=64:512", r"cannot take '512'.*in \[32, 256\]"),
        ("hidden_dimension=64.5", r"cannot take '64\.5'"),
        ("bptt=2:8:16", "cannot take '8:16'"),
        ("bptt=true", "cannot take 'true'"),
        ("bptt=8,", "cannot take ''"),
        ("bptt=16:8", "ends before it begins. Write bptt=8:16"),
        ("recency_mask=1", "must be true or false"),
        ("recency_mask=false:true", "must be true or false"),
        ("dropout=0.1:0.5", "does not let 'dropout' be tuned; it does bptt, hidden_dimension"),
        ("bptt", "takes NAME=LOW:HIGH or NAME=VALUE,VALUE, but got 'bptt'"),
        ("bptt=", "takes NAME=LOW:HIGH"),
    ],
)
def test_what_the_recipe_does_not_allow_is_refused_by_name(written: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Space.of(USER_PERSONALIZATION, [written])


def test_a_hyperparameter_that_is_not_tunable_or_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not let 'history_length' be tuned"):
        Space.of(DIALS, ["history_length=1:10"])
    with pytest.raises(ConfigError, match="bptt twice"):
        Space.of(DIALS, ["bptt=2:8", "bptt=16:32"])


def test_membership_minds_every_dimension_and_the_kind_of_a_value() -> None:
    space = Space.of(USER_PERSONALIZATION, ["bptt=8:16", "recency_mask=true"])
    assert {"bptt": 8, "recency_mask": True} in space
    assert {"bptt": 17, "recency_mask": True} not in space
    assert {"bptt": 8, "recency_mask": False} not in space
    assert True not in Range(0, 2)
    assert 1 not in Choice((True, False))


def test_a_config_gives_and_takes_the_values_of_a_space() -> None:
    config = PipelineConfig(model=GruConfig(hidden_dimension=40, bptt=4))
    space = Space.of(USER_PERSONALIZATION, ["bptt=2:32", "hidden_dimension=32:64"])
    assert space.values_of(config) == {"bptt": 4, "hidden_dimension": 40}
    changed = with_hyperparameters(config, {"bptt": 9})
    assert space.values_of(changed) == {"bptt": 9, "hidden_dimension": 40}
    assert changed.model_copy(update={"model": config.model}) == config
