"""The best state of the fit of a density, judged by points held out or by the objective."""

import torch
from torch import nn

from lse_vi.densities.objective import BestDensity


class Number(nn.Module):
    """Two numbers, one for each member of a batch."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(2))

    def put(self, *values):
        with torch.no_grad():
            self.value.copy_(torch.tensor(values))


def best_of(module, losses):
    return BestDensity.of(module, torch.zeros(2), losses)


def test_without_points_held_out_the_objective_judges_each_member():
    module, none = Number(), torch.empty(0, 2)
    best = best_of(module, none)
    module.put(1.0, 1.0)
    best.look(module, torch.tensor([5.0, -100.0]), none)
    assert best.state["value"].tolist() == [1.0, 0.0]
    assert best.objective.tolist() == [5.0, 0.0]
    assert best.score.tolist() == [-5.0, 0.0]
    assert best.stale == 0


def test_an_objective_is_no_worse_within_its_error():
    """The error is of the largest so far: many small losses do not add up."""
    module, none = Number(), torch.empty(0, 2)
    best = best_of(module, none)
    for step in (1.0, 2.0, 3.0):
        module.put(step, step)
        best.look(module, torch.tensor([-step, -step]), none, noise=torch.tensor([2.0, 0.0]))
    assert best.state["value"].tolist() == [2.0, 0.0]
    assert best.objective.tolist() == [0.0, 0.0]


def test_points_held_out_judge_whatever_the_objective():
    module, losses = Number(), torch.randn(50, 2)
    best = best_of(module, losses)
    module.put(1.0, 1.0)
    worse = losses + torch.tensor([-0.1, 0.5])
    best.look(module, torch.tensor([-3.0, 3.0]), worse)
    assert best.state["value"].tolist() == [1.0, 0.0]
    torch.testing.assert_close(best.losses[:, 1], losses[:, 1])
    assert best.objective.tolist() == [0.0, 3.0]
    best.look(module, torch.zeros(2), losses + 1.0)
    assert best.stale == 1
