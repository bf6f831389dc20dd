"""Pareto-smoothed importance weights."""

from __future__ import annotations

import torch
from torch import Tensor

EQUAL = 1e-6  # nats by which log weights may differ and still count as equal, without a tail


def smooth(log_weights: Tensor) -> tuple[Tensor, float]:
    """Pareto-smoothed log weights and their k-hat (Vehtari et al. 2024).

    Use it to judge importance weights (above k-hat 0.7 they are unreliable), and before resampling
    by them.

    Args:
        log_weights: (n,), in nats, up to a constant.

    Returns:
        Normalised log weights (n,), and k-hat: -inf for equal weights, inf if all are zero.

    Example:
        >>> log_weights, k_hat = smooth(torch.zeros(100))
        >>> log_weights.shape, k_hat
        (torch.Size([100]), -inf)
    """
    from arviz import psislw  # on first use: ArviZ takes longer to import than all other packages

    largest = log_weights.amax()
    if float(largest - log_weights.amin()) < EQUAL:
        nothing = float(largest) <= torch.finfo(log_weights.dtype).min
        return torch.log_softmax(log_weights, 0), torch.inf if nothing else -torch.inf
    smoothed, k = psislw(log_weights.double().cpu().numpy())
    return torch.as_tensor(smoothed).to(log_weights), float(k)
