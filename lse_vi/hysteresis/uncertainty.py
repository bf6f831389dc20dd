"""Errors of what a fit found, by the curvature of its squared error (Laplace's approximation)."""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.hysteresis.marks import jacobian
from lse_vi.hysteresis.selection import Choice
from lse_vi.hysteresis.training import Errors, vector
from lse_vi.materials.play import Play

# Eigenvalues of the scaled J^T J below this share of the largest are directions that the data do
# not see; a mark that moves along one by more than SEEN of its gradient is not determined.
UNSEEN, SEEN = 1e-11, 1e-3


def errors_of_marks(choice: Choice) -> Tensor:
    r"""Standard errors of :class:`Marks`, in units of the model: (marks, transitions).

    The covariance of the parameters is s^2 tau (J^T J)^-1, with s the standard deviation of the
    rows, and tau the number of rows that err together (their integrated autocorrelation): errors of
    a model go on over many rows. Infinite where the data say nothing.
    """
    model, data = choice.model, choice.data
    assert isinstance(model, Play)
    slopes = Errors(model, data).jacobian(vector(model))
    slopes = slopes * data.weight.flatten().sqrt().unsqueeze(-1)
    by_mark = jacobian(model, choice.sides)  # (marks, transitions, parameters)
    scale = slopes.norm(dim=0)
    used = scale > 0
    slopes, by_mark = slopes[:, used] / scale[used], by_mark[..., used] / scale[used]
    values, vectors = torch.linalg.eigh(slopes.mT @ slopes)
    seen = values > UNSEEN * values.max()
    along = by_mark @ vectors
    free = max(data.count - int(seen.sum()), 1)
    square = choice.mean_square(choice.error) * data.count / free * choice.together
    variance = square * (along[..., seen].square() / values[seen]).sum(-1)
    hidden = along[..., ~seen].norm(dim=-1) > SEEN * along.norm(dim=-1)
    return torch.where(hidden | variance.isnan(), torch.inf, variance.sqrt())
