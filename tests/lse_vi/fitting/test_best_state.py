"""The best state of a fit, for one member of a batch at a time."""

import torch
from torch import nn

from lse_vi.fitting.best_state import Best, lift, snapshot, take_first


class Number(nn.Module):
    """A number for each member of a batch, and a row for each."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.rows = nn.Parameter(torch.tensor(value).unsqueeze(-1).expand(-1, 3).clone())


def test_a_member_is_kept_where_asked_and_brought_back():
    module = Number([0.0, 0.0])
    best = Best(state=snapshot(module), score=torch.tensor([2.0, 2.0]))
    better = Number([1.0, 1.0])
    best.keep(better, torch.tensor([True, False]), torch.tensor([1.5, 3.0]))
    assert best.score.tolist() == [1.5, 2.0]
    best.restore_(better)
    assert better.value.tolist() == [1.0, 0.0]
    assert better.rows.tolist() == [[1.0] * 3, [0.0] * 3]


def test_what_is_kept_does_not_move_with_the_module():
    module = Number([1.0, 2.0])
    best = Best(state=snapshot(module), score=torch.zeros(2))
    with torch.no_grad():
        module.value.zero_()
    best.restore_(module)
    assert module.value.tolist() == [1.0, 2.0]


def test_a_state_becomes_a_batch_of_one_and_back():
    state = snapshot(Number([1.0, 2.0]))
    one = take_first(lift(state), torch.zeros(2, dtype=torch.long))
    assert all(torch.equal(one[name], state[name]) for name in state)
