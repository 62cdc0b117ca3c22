"""The evaluator against trec_eval, which knows nothing of raysys, on random rankings."""

import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held
from raysys.evaluation.evaluate import evaluate
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK, top_k_of_scores

ir_measures = pytest.importorskip("ir_measures", reason="is in the dependency group dev")

NUM_USERS, NUM_ITEMS = 60, 15
KS = (1, 3, 5, NUM_ITEMS)
SCORES = np.random.default_rng(3).integers(0, 6, (NUM_USERS, NUM_ITEMS)).astype(np.float64)
"""Few different ones, so that most lists have ties, also around every k."""


class GivenScores:
    """Ranks each user by the scores that were drawn for them."""

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        users = [int(user) for user in histories.user_ids.to_pylist()]
        nums = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)
        return top_k_of_scores(SCORES[users], nums, k, excluded)


def held() -> Held:
    """Return users who have seen none to all of the items, and one to several relevant ones."""
    random = np.random.default_rng(4)
    items = np.arange(1, NUM_ITEMS + 1)
    seen = [random.choice(items, random.integers(0, NUM_ITEMS + 1), False) for _ in SCORES]
    relevant = [random.choice(items, random.integers(1, 6), False) for _ in SCORES]
    users = [str(row) for row in range(NUM_USERS)]
    return Held(
        *(
            Histories.from_lists(users, lists, [np.arange(len(each)) for each in lists])
            for lists in (seen, relevant)
        )
    )


def of_trec_eval(asked: Held) -> dict[tuple[str, str], float]:
    """Return trec_eval's value of each measure for each user.

    Of equal scores it puts the name that comes later in the alphabet first; so the relevant items
    have names that come early.
    """
    qrels, run = [], []
    for row in range(NUM_USERS):
        seen, relevant = (
            set(part.of(row)[0].tolist()) for part in (asked.histories, asked.relevant)
        )
        names = {n: f"{'a' if n in relevant else 'b'}{n}" for n in range(1, NUM_ITEMS + 1)}
        qrels += [ir_measures.Qrel(str(row), names[n], 1) for n in sorted(relevant)]
        run += [
            ir_measures.ScoredDoc(str(row), names[n], SCORES[row, n - 1])
            for n in range(1, NUM_ITEMS + 1)
            if n not in seen
        ]
        run.append(ir_measures.ScoredDoc(str(row), "nothing", -1.0))  # who has seen all has a list
    measures = [ir_measures.RR]
    for k in KS:
        measures += [ir_measures.nDCG @ k, ir_measures.R @ k, ir_measures.Success @ k]
    found = ir_measures.pytrec_eval.iter_calc(measures, qrels, run)
    return {(str(each.measure), each.query_id): each.value for each in found}


def test_every_metric_of_every_user_is_trec_evals():
    asked = held()
    assert (asked.histories.lengths == NUM_ITEMS).any()
    evaluation = evaluate(GivenScores(), asked, KS)
    expected = of_trec_eval(asked)
    for row, user in enumerate(evaluation.user_ids.to_pylist()):
        for k in KS:
            for ours, theirs in (("ndcg", "nDCG"), ("recall", "R"), ("hit_rate", "Success")):
                value = evaluation.values[f"{ours}_at_{k}"][row]
                assert value == pytest.approx(expected[f"{theirs}@{k}", user]), (ours, k, user)
            first = expected["RR", user]  # of the whole list: what lies behind k is cut off here
            reciprocal = first if first >= 1 / k else 0.0
            assert evaluation.values[f"mrr_at_{k}"][row] == pytest.approx(reciprocal)
