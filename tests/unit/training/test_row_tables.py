import torch
import torch.nn.functional as F
from torch import nn

from raysys.config import TwoTowerConfig
from raysys.models.build import build_model
from raysys.training.communication import SingleProcess
from raysys.training.row_tables import choose_row_tables, sum_of_workers, take_row_gradient


def table_of(rows: int = 6) -> nn.Embedding:
    return nn.Embedding(rows, 2, sparse=True)


def test_rows_that_are_looked_up_twice_have_the_sum_of_their_gradients():
    table = table_of()
    loss = (table(torch.tensor([4, 1, 4])) * torch.tensor([[1.0], [2.0], [3.0]])).sum()
    loss = loss + F.embedding(torch.tensor([1]), table.weight, sparse=True).sum() * 10
    loss.backward()
    gradient = sum_of_workers(take_row_gradient(table.weight), SingleProcess())
    assert gradient.rows.tolist() == [1, 4]
    assert gradient.values.tolist() == [[12.0, 12.0], [4.0, 4.0]]
    assert table.weight.grad is None


def test_a_table_that_no_batch_reached_has_no_rows():
    gradient = take_row_gradient(table_of().weight)
    assert gradient.rows.shape == (0,)
    assert gradient.values.shape == (0, 2)


def test_a_table_that_was_not_only_looked_up_has_all_its_rows():
    table = table_of()
    (table.weight.sum() + table(torch.tensor([2])).sum()).backward()
    gradient = take_row_gradient(table.weight)
    assert gradient.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert gradient.values[:, 0].tolist() == [1, 1, 2, 1, 1, 1]


def test_large_tables_are_chosen_but_for_that_of_items_which_are_all_scored():
    model = build_model(TwoTowerConfig(embedding_dim=2), num_items=50, num_users=80)
    users, items = model.query_tower.ids.weight, model.candidate_tower.ids.weight

    def chosen(min_rows: int, all_items_are_scored: bool) -> list[nn.Parameter]:
        return choose_row_tables(
            model, min_rows=min_rows, all_items_are_scored=all_items_are_scored
        )

    assert [table is users for table in chosen(81, False)] == [True]
    assert chosen(82, False) == []
    assert {id(table) for table in chosen(51, False)} == {id(users), id(items)}
    assert [table is users for table in chosen(10, True)] == [True]
    assert not model.candidate_tower.ids.sparse
