"""Pareto-smoothed importance weights."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth(log_weights: Tensor) -> tuple[Tensor, float]:
    """Pareto-smoothed log weights (n,), normalised, and k-hat (Vehtari et al. 2024)."""
    from arviz import psislw  # on first use: it takes longer to import than all else together

    largest = log_weights.amax()
    if float(largest - log_weights.amin()) < 1e-6:  # equal weights have no tail, unless all are 0
        nothing = float(largest) <= torch.finfo(log_weights.dtype).min
        return torch.log_softmax(log_weights, 0), torch.inf if nothing else -torch.inf
    smoothed, k = psislw(log_weights.double().cpu().numpy())
    return torch.as_tensor(smoothed).to(log_weights), float(k)
