"""Leave-one-out scores of models, and the weights of their stack."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from pyro.ops.stats import effective_sample_size
from scipy.optimize import minimize
from torch import Tensor

from lse_vi.numerics.pareto import smooth

TRUSTED_K = 0.7  # Pareto shape above which no number of draws makes a score reliable


class LeaveOneOut(NamedTuple):
    """How well a model predicts each observation from the others.

    Attributes:
        elpd: expected log predictive density, summed over the observations, in nats.
        se: its standard error over data sets.
        p: effective number of parameters.
        each: the score of each observation, (n,), in nats.
        pareto_k: of the weights behind each score, (n,).
        trusted_k: Pareto shape above which a score is unreliable with so many draws.
    """

    elpd: float
    se: float
    p: float
    each: Tensor
    pareto_k: Tensor
    trusted_k: float


def leave_one_out(log_likelihood: Tensor) -> LeaveOneOut:
    r"""Scores by Pareto-smoothed importance sampling (PSIS-LOO, Vehtari, Gelman and Gabry 2017).

    Draw s has the weight 1 / p(y_i | s) for the posterior without observation i, so its score is

        log p(y_i | the others) = log( sum_s w_s p(y_i | s) ) - log( sum_s w_s )

    with smoothed weights. It is ``arviz.loo``, but with one answer in all versions of ArviZ. Theirs
    differ by one weight in the length of the tails, and the older divide a variance by n, not by
    n - 1.

    Args:
        log_likelihood: of each observation, (chain, draw, *shape), in nats. One chain counts as
            independent draws; of several, the effective number sets the length of the tails.

    Example:
        >>> leave_one_out(torch.randn(1, 100, 3, 4)).each.shape
        torch.Size([12])
    """
    values = log_likelihood.double().flatten(2)  # (chain, draw, n)
    draws = values.flatten(0, 1).T  # (n, draws)
    if len(values) == 1:
        efficiency = torch.ones(len(draws))
    else:
        ess = effective_sample_size((values - values.amax((0, 1))).exp(), chain_dim=0, sample_dim=1)
        # Likelihoods that are the same in every draw have no number of their own.
        efficiency = (ess / draws.shape[1]).nan_to_num(1.0)
    each, shapes = torch.empty(len(draws)).double(), torch.empty(len(draws)).double()
    for i, value in enumerate(draws):
        weights, shapes[i] = smooth(-value, float(efficiency[i]))
        each[i] = (weights + value).logsumexp(0)
    whole = draws.logsumexp(1) - math.log(draws.shape[1])
    return LeaveOneOut(
        float(each.sum()),
        standard_error(each),
        float((whole - each).sum()),
        each,
        shapes,
        min(1 - 1 / math.log10(draws.shape[1]), TRUSTED_K),
    )


def standard_error(each: Tensor) -> float:
    """Of the sum of the scores ``each`` (n,); NaN for one, which has no spread."""
    return float((len(each) * each.var()) ** 0.5) if len(each) > 1 else math.nan


def stack(each: Tensor) -> Tensor:
    """Weights of the mixture of models that predicts best (Yao et al. 2018), (models,).

    Args:
        each: scores of the observations by each model, (models, n), in nats.

    Example:
        >>> stack(torch.tensor([[-1.0, -1.0], [-9.0, -9.0]])).round(decimals=3)
        tensor([1., 0.], dtype=torch.float64)
    """
    density = (each - each.amax(0)).double().exp().cpu().numpy().T  # (n, models), at most one
    models = density.shape[1]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = density @ weights
        return -np.log(mixed).mean(), -(density / mixed[:, None]).mean(0)

    found = minimize(
        loss,
        np.full(models, 1 / models),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = torch.as_tensor(found.x).clamp_min(0)
    return weights / weights.sum()
