"""`raysys off-policy`, as an operator types it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.cli import main
from raysys.evaluation.off_policy import estimated
from raysys.state.slates import Slate
from raysys.state.store import StateStore
from tests.unit.evaluation.logged_world import LoggedWorld, totals_of
from tests.unit.state.builders import event, slate, sqlite_url


def result_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict, str]:
    code = main(["off-policy", *arguments, "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out.splitlines()[-1]), printed.err


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which a world's log is stored, with an export of it beside."""
    directory = tmp_path_factory.mktemp("served")
    store = StateStore(sqlite_url(directory), "films")
    log = LoggedWorld.of_simulator().log(0, [0.3], 120)
    store.put_slates([each.slate for each in log])
    store.put_slates([slate("RID-similar", user_id=None, item_id="x", explored=())])
    clicks = [
        event(
            item_id,
            user_id=str(each.slate.user_id),
            recommendation_id=each.slate.recommendation_id,
            event_id=f"{each.slate.recommendation_id}-{item_id}",
        )
        for each in log
        for item_id in each.clicked_item_ids
    ]
    store.put_events(clicks)
    store.close()
    database = ["--database", sqlite_url(directory), "--dataset-group", "films"]
    assert main(["export-events", *database, "--to", str(directory / "export")]) == 0
    return directory


def test_the_estimates_of_an_export_and_of_its_database_are_those_of_the_log(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = ["--exploration-weight", "0.1", "0.3", "--places", "3"]
    sources = (
        ["--impressions", str(served / "export")],
        ["--impressions", str(served / "export" / "impressions.parquet")],
        ["--database", sqlite_url(served), "--dataset-group", "films"],
    )
    lines = [result_of([*source, *weights], capsys) for source in sources]
    assert all(code == 0 for code, _, _ in lines)
    assert lines[0][1] == lines[1][1] == lines[2][1]
    found = lines[0][1]
    log = LoggedWorld.of_simulator().log(0, [0.3], 120)
    assert (found["answers"], found["answers_without_user"]) == (len(log) + 1, 1)
    assert found["releases"] == {"r-1": len(log)}
    for totals, judged in zip(totals_of(log, [0.1, 0.3]), found["weights"], strict=True):
        expected = estimated(totals, 3)
        assert judged["refusal"] is None
        assert judged["num_places"] == 3
        for name, value in expected.values.items():
            assert judged["clicks_per_answer"][name]["mean"] == pytest.approx(value.mean)
            assert judged["clicks_per_answer"][name]["high"] == pytest.approx(value.high)
        assert judged["clicks_per_answer"]["logged"]["mean"] == pytest.approx(expected.logged.mean)
        assert judged["gain"]["dr"]["low"] == pytest.approx(expected.gains["dr"].low)
    assert "doubly robust" in lines[0][2]


def test_epsilon_greedy_is_judged_whatever_was_served(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--impressions", str(served / "export"), "--exploration-weight", "0.1"]
    code, line, shown = result_of([*source, "--places", "2", "--policy", "epsilon-greedy"], capsys)
    assert "clicks per answer, epsilon-greedy" in shown
    (judged,) = line["weights"]
    assert (code, judged["exploration_policy"]) == (0, "epsilon-greedy")
    log = LoggedWorld.of_simulator().log(0, [0.3], 120)
    (totals,) = totals_of(log, [0.1], draws_alike=True)
    expected = estimated(totals, 2).values["snips"].mean
    assert judged["clicks_per_answer"]["snips"]["mean"] == pytest.approx(expected)
    (own,) = result_of([*source, "--places", "2"], capsys)[1]["weights"]
    assert own["clicks_per_answer"]["snips"]["mean"] != pytest.approx(expected)


def test_a_weight_of_which_the_log_says_too_little_is_refused_beside_the_others(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--impressions", str(served / "export"), "--exploration-weight"]
    code, line, shown = result_of([*source, "0.2", "0"], capsys)
    assert (code, line["exit_code"]) == (0, 0)
    assert [judged["refusal"] is None for judged in line["weights"]] == [True, False]
    assert "clicks_per_answer" not in line["weights"][1]
    assert "Nothing is said of weight 0 down to place 5" in shown
    assert result_of([*source, "0"], capsys)[0] == 3


def test_another_release_is_refused_with_the_reason(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--impressions", str(served / "export"), "--exploration-weight", "0.2"]
    assert result_of([*source, "--release", "r-1"], capsys)[0] == 0
    code, line, _ = result_of([*source, "--release", "r-2"], capsys)
    assert (code, line["error"]) == (1, "ConfigError")
    assert "no answer of release 'r-2'; it has those of r-1" in line["message"]
    assert "draws among fresh items only" in line["message"]


def test_what_cannot_be_judged_is_told(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = str(served / "export" / "impressions.parquet")
    for arguments, error, said in (
        (["--impressions", export, "--exploration-weight", "1.5"], "ConfigError", "got 1.5"),
        (["--impressions", export, "--exploration-weight", "nan"], "ConfigError", "got nan"),
        (
            ["--impressions", export, "--exploration-weight", "0.1", "--places", "0"],
            "ConfigError",
            "at least 1, but got 0",
        ),
    ):
        code, line, _ = result_of(arguments, capsys)
        assert (code, line["error"]) == (1, error)
        assert said in line["message"]
    older = tmp_path / "impressions.parquet"
    pq.write_table(pq.read_table(export).drop_columns(["came_as", "num_fresh"]), older)
    code, line, _ = result_of(["--impressions", str(older), "--exploration-weight", "0.1"], capsys)
    assert (code, line["error"]) == (1, "DatasetError")
    assert "no column 'came_as'" in line["message"]


def test_a_log_without_answers_to_users_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    similar: Slate = slate(user_id=None, item_id="x", explored=())
    store.put_slates([similar])
    store.close()
    database = ["--database", sqlite_url(tmp_path), "--dataset-group", "films"]
    code, line, _ = result_of([*database, "--exploration-weight", "0.1"], capsys)
    assert (code, line["error"]) == (1, "DatasetError")
    assert "holds no answer to a user" in line["message"]
