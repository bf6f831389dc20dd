"""Weighted least squares by Levenberg and Marquardt."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

FIRST_DAMPING = 1e-3  # share of the diagonal of J^T J that is added to it at first
LESS, MORE = (
    0.2,
    5.0,
)  # factors of the damping after a step that lowers the cost, and one that fails
MOST_DAMPING = 1e9  # at which no step helps any more
# Share of the largest entry of the diagonal that every entry has at least: parameters without any
# effect (gauges) then stay where they are.
LEAST_SCALE = 1e-12
AGAIN = 2  # steps in a row with such a fall at which the search ends


class Solution(NamedTuple):
    """The end of a search.

    Attributes:
        x: parameters, (parameters,).
        cost: the weighted sum of squares.
        steps: that were taken.
    """

    x: Tensor
    cost: float
    steps: int


def least_squares(
    residuals: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    weight: Tensor,
    steps: int = 50,
    settled: float = 1e-10,
) -> Solution:
    r"""Minimise \sum_i w_i r_i(x)^2 from ``start`` (Nocedal & Wright 2006, Sec. 10.3).

    Use it for tens of parameters and residuals that may have kinks: each step lowers the cost.

    Args:
        residuals: (parameters,) -> (rows,).
        jacobian: their derivatives, (parameters,) -> (rows, parameters).
        start: (parameters,).
        weight: w >= 0, (rows,).
        steps: the largest number of steps.
        settled: relative fall of the cost that counts as none; two such steps end the search.

    Example:
        >>> a = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
        >>> y, ones = torch.tensor([1.0, 3.0, 5.0]), torch.ones(3)
        >>> end = least_squares(lambda x: a @ x - y, lambda x: a, torch.zeros(2), weight=ones)
        >>> [round(v, 3) for v in end.x.tolist()]
        [1.0, 2.0]
    """
    root = weight.sqrt()
    x, damping, idle = start, FIRST_DAMPING, 0
    r = root * residuals(x)
    cost = float(r.square().sum())
    for step in range(steps):
        slopes = root.unsqueeze(-1) * jacobian(x)
        normal, gradient = slopes.mT @ slopes, slopes.mT @ r
        scale = normal.diagonal()
        scale = scale.clamp_min(max(LEAST_SCALE * float(scale.max()), torch.finfo(x.dtype).tiny))
        last = cost
        while damping < MOST_DAMPING:
            change = torch.linalg.solve(normal + damping * torch.diag(scale), gradient)
            trial = x - change
            r_trial = root * residuals(trial)
            cost_trial = float(r_trial.square().sum())
            if cost_trial < cost:  # False for NaN
                x, r, cost = trial, r_trial, cost_trial
                damping *= LESS
                break
            damping *= MORE
        idle = idle + 1 if last - cost <= settled * last else 0
        if damping >= MOST_DAMPING or idle == AGAIN:
            return Solution(x, cost, step + 1)
    return Solution(x, cost, steps)
