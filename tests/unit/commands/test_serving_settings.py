"""What `deploy` and `serve` are told: a config file, and arguments that override it."""

import json
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.commands.arguments import build_parser
from raysys.commands.serving_settings import campaigns_config, serving_config
from raysys.config import CampaignConfig, ServingConfig, VariantConfig
from raysys.errors import ConfigError, ServingError
from raysys.release import publishing
from tests.unit.releases import published


def settings(*arguments: str) -> ServingConfig:
    return serving_config(build_parser().parse_args(["deploy", *arguments]))


def campaigns(*arguments: str) -> dict[str, CampaignConfig]:
    told = build_parser().parse_args(["deploy", *arguments])
    return campaigns_config(told, serving_config(told)).campaigns


def test_arguments_override_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text("campaigns: {}\nexploration_weight: 0.1\nnum_shards: 3\ntracking_id: shop\n")
    config = settings(
        "--config", str(file), "--release", "/b", "--exploration-weight", "0", "--shards", "1",
        "--exploration-policy", "epsilon-greedy",
        "--exploration-item-age-cut-off", "7.5", "--dataset-group", "films",
        "--database", "postgresql://host/name",
    )  # fmt: skip
    assert config == ServingConfig(
        exploration_weight=0,
        num_shards=1,
        exploration_policy="epsilon-greedy",
        exploration_item_age_cut_off=7.5,
        dataset_group="films",
        database="postgresql://host/name",
        tracking_id="shop",
    )


def test_what_is_deployed_holds_where_nothing_is_said(tmp_path: Path) -> None:
    deployed = ServingConfig(num_shards=3, exploration_weight=0.1, database="sqlite:////a/b.db")
    told = build_parser().parse_args(["deploy", "--release", "r", "--exploration-weight", "0.2"])
    config = serving_config(told, deployed=deployed.model_dump())
    assert config == deployed.model_copy(update={"exploration_weight": 0.2})
    (tmp_path / "whole.yaml").write_text("num_shards: 1\n")
    told = build_parser().parse_args(
        ["deploy", "--release", "r", "--config", str(tmp_path / "whole.yaml")]
    )
    assert serving_config(told, deployed=deployed.model_dump()).exploration_weight == 0.3


def test_campaigns_come_from_the_file_and_one_from_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = []
    for directory in ("old", "new"):
        with publishing(tmp_path / directory) as draft:
            names.append(published(draft, lineage={"order": directory}).name)
    old, new = (
        str(tmp_path / where / name) for where, name in zip(("old", "new"), names, strict=True)
    )
    file = tmp_path / "serving.yaml"
    file.write_text(
        "campaigns:\n"
        "  default: {release: old, exploration_weight: 0.1}\n"
        "  trial: {variants: [{release: old, share: 9}, {release: new}], deployed_at: monday}\n"
    )
    found = campaigns("--config", str(file))
    assert found["default"].variants == [VariantConfig(release=old)]  # newest of the directory
    assert found["default"].exploration_weight == 0.1
    assert found["default"].deployed_at > "2026"  # so that it is taken over once more
    assert found["trial"].variants == [
        VariantConfig(release=old, share=9),
        VariantConfig(release=new),
    ]
    assert found["trial"].deployed_at == "monday"
    told = campaigns(
        "--config", str(file), "--release", "new", "old", "--shares", "1", "3",
        "--campaign", "trial",
    )  # fmt: skip
    assert set(told) == {"default", "trial"}
    assert [(each.release, each.share) for each in told["trial"].variants] == [(new, 1), (old, 3)]
    with pytest.raises(ConfigError, match="--shares has 1 numbers for 2 releases"):
        campaigns("--release", "new", "old", "--shares", "1")
    with pytest.raises(ConfigError, match="each release may be named once"):
        campaigns("--release", "new", "new")


def test_paths_mean_the_same_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings("--release", "releases", "--database", "sqlite:///state.db")
    assert config.database == f"sqlite:///{tmp_path}/state.db"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "raysys deploy needs --release"),
        (["--release", "r", "--exploration-weight", "1.5"], "exploration_weight: .* got 1.5"),
        (["--release", "r", "--exploration-weight", "-0.1"], "exploration_weight: .* got -0.1"),
        (["--release", "r", "--exploration-item-age-cut-off", "0"], "age_cut_off: .* got 0.0"),
        (["--release", "r", "--shards", "0"], "num_shards: .* got 0"),
        (["--release", "r", "--dataset-group", "a/b"], "dataset_group: .* got 'a/b'"),
    ],
)
def test_a_wrong_argument_is_refused_whether_or_not_there_is_a_file(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(*arguments)
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError, match=message):
        settings(*arguments, "--config", str(tmp_path / "empty.yaml"))


def test_a_config_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[release]")
    with pytest.raises(ConfigError, match="No valid ServingConfig can be made of .*list.yaml"):
        settings("--config", str(tmp_path / "list.yaml"), "--release", "r")


def message_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--json"]) == 1
    return str(json.loads(capsys.readouterr().out)["message"])


def test_serve_sends_those_with_a_cluster_to_deploy_and_deploy_those_without_to_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert "with `raysys deploy`" in message_of(capsys, "serve", "--release", "r")
    assert "Unset RAY_ADDRESS" in message_of(capsys, "demo")
    monkeypatch.delenv("RAY_ADDRESS")
    assert "there is `raysys serve`" in message_of(capsys, "deploy", "--release", "r")


@pytest.mark.parametrize("command", ["deploy", "serve"])
def test_a_release_of_another_dataset_group_is_refused_before_anything_starts(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with publishing(tmp_path) as draft:
        published(draft, lineage={"dataset_group": "films"})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if command == "deploy":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    refused = message_of(capsys, command, "--release", str(tmp_path))
    assert "belongs to the dataset group 'films', but 'default' was asked for" in refused
    assert "--dataset-group films" in refused


@pytest.mark.parametrize("command", ["deploy", "serve"])
def test_authentication_off_on_an_address_that_others_reach_is_refused_at_once(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "off.yaml").write_text("campaigns: {default: {release: r}}\nauthentication: off\n")
    given = ("--config", str(tmp_path / "off.yaml"), "--host", "0.0.0.0")
    refused = message_of(capsys, command, *given)
    assert "asked to listen on '0.0.0.0' with `authentication: off`" in refused


def test_serve_says_before_ray_starts_that_an_address_that_others_reach_takes_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with publishing(tmp_path) as draft:
        published(draft)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("raysys.commands.serve.ray_cluster", _ray_is_reached)
    database = f"sqlite:///{tmp_path / 'state.db'}"
    given = ("serve", "--release", str(tmp_path), "--database", database, "--host", "10.0.0.7")
    refused = message_of(capsys, *given)
    assert "since it listens on '10.0.0.7', which others can reach." in refused
    assert "raysys keys create --database" in refused
    making = ["keys", "create", "--scopes", "read", "--bearer", "--database", database]
    assert main(making) == 0
    capsys.readouterr()
    assert message_of(capsys, *given) == "Ray would start"


def _ray_is_reached(*_: object, **__: object) -> None:
    raise ServingError("Ray would start")
