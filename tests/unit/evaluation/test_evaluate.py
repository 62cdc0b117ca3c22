import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from raysys.config import EvaluationConfig
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held
from raysys.errors import ConfigError, DatasetError
from raysys.evaluation import comparison
from raysys.evaluation import evaluate as evaluate_module
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.comparison import estimated_mean, paired_difference, standard_error
from raysys.evaluation.evaluate import Evaluation, asked_as, evaluate
from raysys.evaluation.report import Report
from tests.unit.evaluation.baselines.histories import histories_of

# Everybody is offered 1, 2, 3, 4 in this order, but for what they have seen.
POPULARITY = FixedRanking(np.array([0, 9, 8, 7, 6]))
HELD = Held(histories_of([1], [], [1, 2]), histories_of([2], [2], [4]))


def test_each_user_is_ranked_without_what_they_have_seen():
    # The answers stand at rank 1 (of 2, 3, 4), rank 2 (of 1, 2, 3, 4) and rank 2 (of 3, 4).
    evaluation = evaluate(POPULARITY, HELD, [1, 2])
    assert evaluation.values["hit_rate_at_1"].tolist() == [1, 0, 0]
    assert evaluation.values["mrr_at_2"].tolist() == [1, 0.5, 0.5]
    assert evaluation.means()["mrr_at_2"] == pytest.approx(2 / 3)
    assert evaluation.standard_errors()["mrr_at_2"] == pytest.approx(1 / 6)
    assert evaluation.user_ids.to_pylist() == ["user 0", "user 1", "user 2"]
    assert len(evaluation) == 3


def test_what_was_seen_can_be_ranked_too():
    evaluation = evaluate(POPULARITY, HELD, [4], exclude_history=False)
    assert evaluation.values["mrr_at_4"].tolist() == [1 / 2, 1 / 2, 1 / 4]


def test_only_the_newest_seen_items_are_left_out():
    evaluation = evaluate(POPULARITY, HELD, [4], max_seen_items=1)
    assert evaluation.values["mrr_at_4"].tolist() == [1, 1 / 2, 1 / 3]  # the last gets 1, 3, 4


def test_users_in_blocks_have_the_same_values(monkeypatch: pytest.MonkeyPatch):
    whole = evaluate(POPULARITY, HELD, [1, 4])
    monkeypatch.setattr(evaluate_module, "_USER_BLOCK", 2)
    done: list[tuple[int, int]] = []
    blocked = evaluate(
        POPULARITY, HELD, [1, 4], on_progress=lambda users, total: done.append((users, total))
    )
    assert done == [(2, 3), (3, 3)]
    for name, values in whole.values.items():
        assert blocked.values[name].tolist() == values.tolist()


def test_nobody_to_evaluate_is_refused():
    with pytest.raises(DatasetError, match="of 0 held-out users"):
        evaluate(POPULARITY, Held(histories_of(), histories_of()), [1])
    with pytest.raises(DatasetError, match="1 have nothing"):
        evaluate(POPULARITY, Held(histories_of([], []), histories_of([1], [])), [1])


def evaluation_of(**values: list[float]) -> Evaluation:
    arrays = {name: np.array(vector) for name, vector in values.items()}
    users = histories_of(*([] for _ in next(iter(arrays.values())))).user_ids
    return Evaluation(users, arrays)


def test_the_standard_error_is_that_of_the_differences():
    # Differences 1, 2, 3: mean 2, variance 1, standard error 1 / sqrt(3).
    difference = paired_difference(np.array([5.0, 9.0, 2.0]), np.array([4.0, 7.0, -1.0]))
    assert difference.mean == 2
    assert difference.standard_error == pytest.approx(1 / math.sqrt(3))
    assert standard_error(np.array([3.0])) == 0


def test_a_constant_difference_is_certain():
    difference = paired_difference(np.array([0.5, 0.1, 0.9]), np.array([0.25, -0.15, 0.65]))
    assert difference.low == pytest.approx(0.25)
    assert difference.high == pytest.approx(0.25)


def test_the_interval_is_about_two_standard_errors_wide_on_each_side():
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 400))
    difference = paired_difference(first, second, seed=1)
    assert difference.mean - difference.low == pytest.approx(
        1.96 * difference.standard_error, rel=0.1
    )
    assert difference.high - difference.mean == pytest.approx(
        1.96 * difference.standard_error, rel=0.1
    )
    assert paired_difference(first, second, seed=1) == difference
    assert paired_difference(first, second, seed=2) != difference


def test_an_interval_of_few_values_is_that_of_drawn_users(monkeypatch: pytest.MonkeyPatch):
    values = np.repeat([0.0, 0.5, 1.0], [600, 300, 100])
    counted = estimated_mean(values)
    monkeypatch.setattr(comparison, "_FEW", 1000)
    drawn = estimated_mean(values)
    assert (counted.mean, counted.standard_error) == (drawn.mean, drawn.standard_error)
    assert counted.low == pytest.approx(drawn.low, abs=1e-3)
    assert counted.high == pytest.approx(drawn.high, abs=1e-3)
    assert counted.low < 0.23 < counted.mean == 0.25 < 0.27 < counted.high


def test_a_mean_over_nobody_is_refused():
    with pytest.raises(ValueError, match="over no user"):
        estimated_mean(np.zeros(0))


def test_models_of_different_users_are_not_compared():
    with pytest.raises(ValueError, match="user by user"):
        paired_difference(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="user by user"):
        paired_difference(np.zeros(0), np.zeros(0))


CONFIG = EvaluationConfig(ks=(1, 2), metric="mrr", metric_k=2)


def report() -> Report:
    better = evaluate(POPULARITY, HELD, CONFIG.ks)
    worse = evaluate(FixedRanking(np.array([0, 1, 2, 3, 4])), HELD, CONFIG.ks)
    return Report({"good": better, "bad": worse}, CONFIG, split="leave-last-out, test")


def test_a_report_as_json_says_how_it_was_measured():
    value = json.loads(json.dumps(report().to_json(), allow_nan=False))
    assert value["split"] == "leave-last-out, test"
    assert value["num_users"] == 3
    assert value["ties"] == "of equal scores the relevant item comes last"
    assert value["metric"] == "mrr_at_2"
    assert value["models"]["good"]["means"]["mrr_at_2"] == pytest.approx(2 / 3)
    # "bad" offers 4, 3, 2, 1: the answers are out of reach, out of reach, and first.
    assert value["models"]["bad"]["means"]["mrr_at_2"] == pytest.approx(1 / 3)
    assert value["ahead_of"]["bad"]["difference"] == pytest.approx(1 / 3)
    assert set(value["ahead_of"]) == {"bad"}


def test_a_report_as_a_table_marks_the_best_and_every_one_of_equals():
    table = report().to_table()
    best, other = ("0.3333", "bold"), ("0.3333", "")
    cells = {
        column.header: [(cell.plain, cell.style) for cell in column.cells]
        for column in table.columns[1:]
    }
    assert list(table.columns[0].cells) == ["good", "bad"]
    assert cells == {
        "NDCG@1": [best, best],
        "HR@1": [best, best],
        "Recall@1": [best, best],
        "MRR@1": [best, best],
        "Recall@2": [("1.0000", "bold"), other],
    }


def test_a_report_as_a_table_says_how_it_was_measured():
    # Differences 1, 1/2, -1/2: each extreme is drawn three times in 1 of 27 samples, above 2.5 %.
    console = Console(width=120)
    with console.capture() as capture:
        console.print(report().to_table(), markup=False)  # as commands do: ids may hold brackets
    text = capture.get()
    assert "[" not in text
    assert "leave-last-out, test, 3 users" in text
    assert "good - bad, MRR@2: +0.3333, 95 % interval -0.5000 to +1.0000" in text
    assert "seen items left out; ties: of equal scores the relevant item comes last" in text


def test_a_metric_that_was_not_measured_cannot_compare():
    config = EvaluationConfig(ks=(1,), metric="mrr", metric_k=2)
    with pytest.raises(ConfigError, match="mrr_at_2, which was not measured"):
        Report({"good": evaluate(POPULARITY, HELD, (1,))}, config, split="test")


def test_a_user_asks_in_the_context_of_the_first_interaction_that_is_to_be_found():
    histories = Histories.from_lists(["a", "b"], [[1], [2]], [[0], [0]])
    relevant = Histories.from_lists(["a", "b"], [[3, 4], [5]], [[1, 2], [1]])
    assert asked_as(histories, relevant).asked_in is None
    known = replace(relevant, contexts=np.array([7, 8, 9]))
    assert asked_as(histories, known).asked_in.tolist() == [7, 9]
