"""Pareto-smoothed importance weights (Vehtari, Simpson, Gelman, Yao and Gabry 2024).

The method is written out here, in place of a call to ArviZ. ArviZ 0.x smooths one weight more than
ArviZ 1.x does, which moves k-hat by some hundredths, takes the weights with the opposite sign, and
is slow to import. So a fit gives one k-hat, whatever ArviZ is installed, and needs none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EQUAL = 1e-6  # nats by which log weights may differ and still count as equal, without a tail
LEAST_TAIL = 5  # weights from which on a tail has a shape
# Of the fit of the tail (Zhang and Stephens 2009, with the numbers of Vehtari et al. 2024): the
# spread of the prior of the rate, and the weight, in observations, of the prior of k at 0.5.
RATE_PRIOR, SHAPE_PRIOR, PRIOR_SHAPE = 3.0, 10.0, 0.5


def smooth(log_weights: Tensor, efficiency: float = 1.0) -> tuple[Tensor, float]:
    """Pareto-smoothed log weights and their k-hat (Vehtari et al. 2024).

    Use it to judge importance weights (above k-hat 0.7 they are unreliable), and before resampling
    by them.

    Args:
        log_weights: (n,), in nats, up to a constant.
        efficiency: effective draws per draw, below one for a Markov chain; sets the tail's length.

    Returns:
        Normalised log weights (n,), and k-hat: -inf for equal weights, inf if all are zero or the
        tail is too short for a shape.

    Raises:
        ValueError: if a weight is infinite or not a number.

    Example:
        >>> log_weights, k_hat = smooth(torch.zeros(100))
        >>> log_weights.shape, k_hat
        (torch.Size([100]), -inf)
    """
    raw = log_weights.double()
    largest = raw.amax()
    if bool(torch.isnan(raw).any()) or float(largest) == math.inf:
        raise ValueError("log_weights must be numbers or -inf, but got inf or not a number")
    if float(largest) <= torch.finfo(log_weights.dtype).min:
        return torch.full_like(log_weights, -math.log(len(raw))), math.inf
    if float(largest - raw.amin()) < EQUAL:
        return torch.log_softmax(log_weights, 0), -math.inf

    x = raw - largest
    ordered, order = x.sort()
    length = math.ceil(min(len(x) / 5, 3 * (len(x) / efficiency) ** 0.5))
    cutoff = max(float(ordered[-length - 1]), math.log(torch.finfo(torch.float64).tiny))
    at = order[ordered > cutoff]
    shape = math.inf
    if len(at) >= LEAST_TAIL:
        below = math.exp(cutoff)
        shape, scale = _tail(x[at].exp() - below)
        rank = (torch.arange(len(at), dtype=torch.float64) + 0.5) / len(at)
        smoothed = below + scale * _quantile(rank, shape).to(x)
        x[at] = smoothed.log().clamp_max(0.0)
    return torch.log_softmax(x, 0).to(log_weights), shape


def _tail(excess: Tensor) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto law of sorted ``excess`` (n,), all positive.

    The posterior mean of the rate b = -k / scale over a grid, by profile likelihood; then k is
    drawn a little towards 0.5.
    """
    n = len(excess)
    nodes = 30 + int(n**0.5)
    at = torch.arange(1, nodes + 1, dtype=torch.float64) - 0.5
    spread = RATE_PRIOR * float(excess[int(n / 4 + 0.5) - 1])
    b = (1 - (nodes / at) ** 0.5) / spread + 1 / float(excess[-1])
    k = torch.log1p(-b.unsqueeze(-1) * excess.cpu()).mean(-1)
    weights = torch.softmax(n * (torch.log(-b / k) - k - 1), 0)
    rate = float((b * weights).sum())
    raw = float(torch.log1p(-rate * excess).mean())
    return (n * raw + SHAPE_PRIOR * PRIOR_SHAPE) / (n + SHAPE_PRIOR), -raw / rate


def _quantile(rank: Tensor, shape: float) -> Tensor:
    """The quantiles of the generalised Pareto law of scale one."""
    if abs(shape) < torch.finfo(torch.float64).eps:
        return -torch.log1p(-rank)
    return torch.expm1(-shape * torch.log1p(-rank)) / shape
