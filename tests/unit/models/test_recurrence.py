import torch
import torch.nn.functional as F

from raysys.models.recurrence import gru_segment, new_gate_first


def test_states_and_gradients_are_those_of_torchs_gru():
    torch.manual_seed(0)
    gru = torch.nn.GRU(5, 5).double()
    inputs = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    state = torch.randn(3, 5, dtype=torch.float64)
    counts_for = torch.randn(7, 3, 5, dtype=torch.float64)
    weights = [inputs, *gru.parameters()]

    reference, reference_last = gru(inputs, state[None])
    expected = torch.autograd.grad((reference * counts_for).sum(), weights)

    projected = F.linear(inputs, new_gate_first(gru.weight_ih_l0), new_gate_first(gru.bias_ih_l0))
    states, last = gru_segment(projected, state, gru.weight_hh_l0, gru.bias_hh_l0)
    found = torch.autograd.grad((states * counts_for).sum(), weights)

    torch.testing.assert_close(states, reference)
    torch.testing.assert_close(last, reference_last[0])
    torch.testing.assert_close(found, expected)


def test_no_gradient_leaves_through_the_state_of_the_segment_before():
    state = torch.ones(1, 2, requires_grad=True)
    weight, bias = torch.ones(6, 2, requires_grad=True), torch.zeros(6)
    states, last = gru_segment(torch.zeros(3, 1, 6), state, weight, bias)
    states.sum().backward()
    assert state.grad is None
    assert not last.requires_grad


def test_the_new_gates_rows_move_to_the_front():
    rows = torch.tensor([1, 2, 3, 4, 5, 6])  # reset 1 2, update 3 4, new 5 6
    assert new_gate_first(rows).tolist() == [5, 6, 1, 2, 3, 4]
