import pytest
import torch

from raysys.training.averaging import WeightAverage


def test_the_average_is_the_value_worked_out_by_hand():
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    average = WeightAverage([weight], [], decay=0.15)
    for step, value in enumerate([10.0, 20.0], start=1):
        weight.data = torch.tensor([value])
        average.after_step(step, [])
    # Step 1 keeps 1/10 of 4: 0.4 + 9 = 9.4. Step 2 would keep 2/11 but is held to 0.15:
    # 0.15 * 9.4 + 0.85 * 20 = 18.41.
    assert average.tensors[0].item() == pytest.approx(18.41)


def test_a_table_of_which_steps_change_some_rows_has_the_average_of_the_whole_table():
    torch.manual_seed(1)
    start = torch.randn(6, 2)
    whole, table = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    averages = WeightAverage([whole], [], 0.8), WeightAverage([table], [table], 0.8)
    step = 0
    for _ in range(2):
        for changed in ([0, 3], [3], [1, 3], [0]):
            step += 1
            rows, change = torch.tensor(changed), torch.randn(len(changed), 2)
            averages[1].before_step([rows])
            for weights in (whole, table):
                weights.data[rows] += change
            averages[0].after_step(step, [])
            averages[1].after_step(step, [rows])
        with averages[1].in_place():
            torch.testing.assert_close(table.detach(), averages[0].tensors[0])
    assert torch.equal(table, whole)


def test_the_model_has_the_average_within_the_block_and_its_weights_after_it():
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    average = WeightAverage([weight], [], decay=0.9)
    weight.data = torch.tensor([7.0])

    def fail() -> None:
        with average.in_place():
            assert weight.item() == 4.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert weight.item() == 7.0
    assert average.tensors[0].item() == 4.0
