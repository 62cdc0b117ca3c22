"""Settings refuse what they do not know and say what was meant."""

from pathlib import Path

import pytest
from ray._private.label_utils import validate_label_selector

from raysys.config import PipelineConfig, ServingConfig, load_config, parse_config
from raysys.errors import ConfigError
from raysys.recipes import RECIPES, recipe_named


def test_an_empty_file_means_every_default(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_config(file, PipelineConfig) == PipelineConfig()


@pytest.mark.parametrize(
    ("value", "where", "meant"),
    [
        ({"modle": {}}, "modle", "model"),
        ({"training": {"learning_rat": 1}}, "training.learning_rat", "learning_rate"),
        ({"model": {"kind": "gru", "hidden_dim": 9}}, "model.gru.hidden_dim", "hidden_dimension"),
        ({"model": {"kind": "two_tower", "temprature": 9}}, "temprature", "temperature"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    value: object, where: str, meant: str
) -> None:
    with pytest.raises(ConfigError, match=f"{where}: unknown key; did you mean '{meant}'"):
        parse_config(value, PipelineConfig, source="test")


def test_a_value_outside_its_range_is_refused_with_the_value() -> None:
    with pytest.raises(ConfigError, match=r"num_shards.*greater than or equal to 1.*got 0"):
        parse_config({"release": "r", "num_shards": 0}, ServingConfig, source="test")


@pytest.mark.parametrize("num_gpus", [-1, 1.5])
def test_gpus_are_a_share_of_one_or_whole_ones(num_gpus: float) -> None:
    with pytest.raises(ConfigError, match="gpus_per_shard"):
        parse_config({"release": "r", "gpus_per_shard": num_gpus}, ServingConfig, source="test")
    given = {"release": "r", "gpus_per_shard": 2, "gpus_per_encoder": 0.25}
    assert parse_config(given, ServingConfig, source="test").gpus_per_encoder == 0.25


@pytest.mark.parametrize(
    ("selector", "is_one"),
    [("cpu", True), ("!gpu", True), ("!in(a, b-2)", True), ("in()", False), ("a b", False)],
)
def test_gateways_are_placed_by_selectors_that_ray_understands(selector: str, is_one: bool) -> None:
    assert (validate_label_selector({"nodes": selector}) is None) == is_one
    given = {"release": "r", "gateway_nodes": {"nodes": selector}}
    if is_one:
        parse_config(given, ServingConfig, source="test")
    else:
        with pytest.raises(ConfigError, match=r"gateway_nodes\.nodes"):
            parse_config(given, ServingConfig, source="test")


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "just text", "\x00"])
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(file, PipelineConfig)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
        load_config(tmp_path / "nowhere.yaml", PipelineConfig)


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PipelineConfig().training.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_s_defaults_are_those_of_its_settings(recipe) -> None:
    model = recipe.configure({}).model.model_dump()
    for hyperparameter in recipe.hyperparameters:
        assert model[hyperparameter.name] == hyperparameter.default


def test_a_recipe_is_found_by_name_and_by_arn() -> None:
    recipe = recipe_named("aws-user-personalization")
    assert recipe_named("arn:aws:personalize:::recipe/aws-user-personalization") is recipe
    with pytest.raises(ConfigError, match="no recipe 'aws-sims'"):
        recipe_named("aws-sims")


def test_a_hyperparameter_outside_its_range_or_unknown_is_refused() -> None:
    recipe = recipe_named("aws-user-personalization")
    assert recipe.configure({"bptt": 2}).model.bptt == 2
    with pytest.raises(ConfigError, match=r"bptt .* must lie in \[2, 32\], but got 33"):
        recipe.configure({"bptt": 33})
    with pytest.raises(ConfigError, match="no hyperparameter 'depth'"):
        recipe.configure({"depth": 3})
