"""Draws of a guide as values of the model's sites, with their importance weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.guides.diagnostics import importance
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.numerics.pareto import smooth
from lse_vi.random.draws import generator

DRAWS_PER_KEPT = 10  # draws of the guide for each one resampled: so few are resampled twice


class WeightedDraws(NamedTuple):
    """Draws in the form that ArviZ needs, with one chain.

    Attributes:
        values: of each site, (1, n, *shape).
        sample_stats: ``log_weight``, l - log q of each draw in nats, (1, n).
        attrs: ``elbo``, ``log_evidence`` and its error, ``ess`` and ``k_hat``.
    """

    values: dict[str, Tensor]
    sample_stats: dict[str, Tensor]
    attrs: dict[str, float]


@torch.no_grad()
def weighted_draws(
    guide: AutoLSEICNN,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    num_samples: int,
    resample: bool,
) -> WeightedDraws:
    """Draws of ``guide``, or of the posterior by resampling, for the arguments of the model.

    Args:
        guide: a trained guide.
        args, kwargs: arguments of the model.
        num_samples: number of draws returned.
        resample: choose the draws among ten times as many, by Pareto-smoothed importance weights.
            They then follow the posterior, if the guide covers it and k-hat is below 0.7.
    """
    log_joint = guide.log_joint(*args, **kwargs)
    judged = importance(
        guide.get_posterior(*args, **kwargs),
        log_joint,
        samples=DRAWS_PER_KEPT * num_samples if resample else num_samples,
    )
    chosen = torch.arange(num_samples)
    if resample:
        weights = smooth(judged.log_weights)[0].exp()
        chosen = torch.multinomial(weights, num_samples, True, generator=generator(weights.device))
    values = log_joint.values(judged.draws[chosen])
    return WeightedDraws(
        {name: value.unsqueeze(0) for name, value in values.items()},
        {"log_weight": judged.log_weights[chosen].unsqueeze(0)},
        {
            "elbo": judged.elbo,
            "log_evidence": judged.log_evidence,
            "log_evidence_error": judged.log_evidence_error,
            "ess": judged.ess,
            "k_hat": judged.k_hat,
        },
    )
