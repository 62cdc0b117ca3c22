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
        parse_config({"num_shards": 0}, ServingConfig, source="test")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"model": {"kind": "gru", "hidden_dimension": 4}},
            r"hidden_dimension: .* but got 4 \(range \[8, 1024\], default 149\)",
        ),
        ({"model": {"kind": "gru", "dropout": 1}}, r"but got 1 \(range \[0, 1\), default 0\.5\)"),
        (
            {"training": {"learning_rate": 0}},
            r"but got 0 \(range \(0, inf\), default 0\.004\)",
        ),
        ({"training": {"num_hard_negatives": 0}}, r"but got 0 \(range \[1, inf\), default null\)"),
        (
            {"training": {"loss": "hinge"}},
            r"loss: Input should be 'auto', .*'bpr', but got 'hinge' \(default auto\)",
        ),
        ({"training": {"use_gpu": "perhaps"}}, r"but got 'perhaps' \(default False\)"),
        ([], r"\(the whole file\): .* but got \[\]$"),
    ],
)
def test_a_refused_value_is_told_with_its_range_and_default(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(value, PipelineConfig, source="test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "auto"}, "auto may be full_softmax"),
        ({"loss": "full_softmax"}, "full_softmax has no negatives to choose from"),
        ({"loss": "gbce"}, "calibration of gbce"),
        ({"loss": "bpr"}, None),
    ],
)
def test_hard_negatives_need_a_loss_that_has_some(settings, message) -> None:
    given = {"training": {"num_hard_negatives": 3, **settings}}
    if message is None:
        parse_config(given, PipelineConfig, source="test")
    else:
        with pytest.raises(ConfigError, match=rf"num_hard_negatives 3 needs one of .*{message}"):
            parse_config(given, PipelineConfig, source="test")


def test_a_loss_that_does_not_read_a_two_towers_settings_is_refused() -> None:
    two_tower = {"kind": "two_tower", "remove_accidental_hits": False}
    given = {"model": two_tower, "training": {"loss": "bpr"}}
    with pytest.raises(ConfigError, match=r"remove_accidental_hits can .* for in_batch_softmax"):
        parse_config(given, PipelineConfig, source="test")
    given = {"model": {"kind": "two_tower"}, "feedback": {"kind": "explicit"}}
    parse_config(given, PipelineConfig, source="test")
    with pytest.raises(ConfigError, match=r"squared error, so training\.loss bpr has nothing"):
        parse_config(given | {"training": {"loss": "bpr"}}, PipelineConfig, source="test")
    jointly = {"model": {"kind": "two_tower", "retrieval_weight": 0.5}}
    parse_config(given | jointly | {"training": {"loss": "bpr"}}, PipelineConfig, source="test")


@pytest.mark.parametrize("num_gpus", [-1, 1.5])
def test_gpus_are_a_share_of_one_or_whole_ones(num_gpus: float) -> None:
    with pytest.raises(ConfigError, match="gpus_per_shard"):
        parse_config({"gpus_per_shard": num_gpus}, ServingConfig, source="test")
    given = {"gpus_per_shard": 2, "gpus_per_encoder": 0.25}
    assert parse_config(given, ServingConfig, source="test").gpus_per_encoder == 0.25


@pytest.mark.parametrize(
    ("selector", "is_one"),
    [("cpu", True), ("!gpu", True), ("!in(a, b-2)", True), ("in()", False), ("a b", False)],
)
def test_gateways_are_placed_by_selectors_that_ray_understands(selector: str, is_one: bool) -> None:
    assert (validate_label_selector({"nodes": selector}) is None) == is_one
    given = {"gateway_nodes": {"nodes": selector}}
    if is_one:
        parse_config(given, ServingConfig, source="test")
    else:
        with pytest.raises(ConfigError, match=r"gateway_nodes\.nodes"):
            parse_config(given, ServingConfig, source="test")


def test_what_explores_has_to_be_recorded() -> None:
    with pytest.raises(ConfigError, match=r"Set exploration_weight to 0, or record to true"):
        parse_config({"record": False}, ServingConfig, source="test")
    given = {"record": False, "exploration_weight": 0}
    assert not parse_config(given, ServingConfig, source="test").record


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
    with pytest.raises(
        ConfigError, match=r"bptt .* must lie in \[2, 32\], whole numbers, but got 33"
    ):
        recipe.configure({"bptt": 33})
    with pytest.raises(ConfigError, match=r"whole numbers, but got 'many'\. Its default is 32"):
        recipe.configure({"bptt": "many"})
    for value in (True, 8.0, None):
        with pytest.raises(ConfigError, match="whole numbers, but got"):
            recipe.configure({"bptt": value})
    with pytest.raises(
        ConfigError, match=r"must be true or false, but got 1\. Its default is True"
    ):
        recipe.configure({"recency_mask": 1})
    with pytest.raises(ConfigError, match="no hyperparameter 'depth'"):
        recipe.configure({"depth": 3})


def test_a_hyperparameter_may_be_one_of_some_words_or_be_switched_off() -> None:
    trending = recipe_named("aws-trending-now")
    chosen = trending.configure({"trend_discovery_frequency": "1 day"})
    assert chosen.model.window_s == 86_400
    for value in ("2 days", 1, None):
        with pytest.raises(ConfigError, match=r"must be one of 30 minutes, .*, but got"):
            trending.configure({"trend_discovery_frequency": value})
    popularity = recipe_named("aws-popularity-count")
    for allowed in (None, 7, 0.5):
        assert popularity.configure({"half_life_days": allowed}).model.half_life_days == allowed
    for value in (0, True, "week"):
        with pytest.raises(ConfigError, match=r"lie in \[0.01, 36500.0\], or be null, but got"):
            popularity.configure({"half_life_days": value})


@pytest.mark.parametrize("lists", [90, None])
def test_events_are_kept_as_long_as_the_lists_that_they_follow(lists: float | None) -> None:
    given = {"slate_retention_days": lists, "event_retention_days": 89}
    with pytest.raises(ConfigError, match="as if nobody had clicked on them"):
        parse_config(given, ServingConfig, source="test")
    for other in ({"slate_retention_days": 89}, {"record": False, "exploration_weight": 0}):
        config = parse_config({**given, **other}, ServingConfig, source="test")
        assert config.event_retention_days == 89
