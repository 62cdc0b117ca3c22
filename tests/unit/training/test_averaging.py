import pytest
import torch

from raysys.training.averaging import WeightAverage


def test_the_average_is_the_value_worked_out_by_hand():
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    average = WeightAverage([weight], decay=0.15)
    for step, value in enumerate([10.0, 20.0], start=1):
        weight.data = torch.tensor([value])
        average.update(step)
    # Step 1 keeps 1/10 of 4: 0.4 + 9 = 9.4. Step 2 would keep 2/11 but is held to 0.15:
    # 0.15 * 9.4 + 0.85 * 20 = 18.41.
    assert average.tensors[0].item() == pytest.approx(18.41)


def test_the_model_has_the_average_within_the_block_and_its_weights_after_it():
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    average = WeightAverage([weight], decay=0.9)
    weight.data = torch.tensor([7.0])

    def fail() -> None:
        with average.in_place():
            assert weight.item() == 4.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert weight.item() == 7.0
    assert average.tensors[0].item() == 4.0
