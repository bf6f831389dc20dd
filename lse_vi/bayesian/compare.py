"""Posteriors of the same data compared by leave-one-out scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from lse_vi.bayesian.result import DensityPosterior, check_unweighted
from lse_vi.numerics.leave_one_out import leave_one_out, stack, standard_error
from lse_vi.signatures.checked import checked


@checked
def compare_densities(posteriors: Mapping[Any, DensityPosterior]) -> Any:
    """Posteriors of the same data compared by leave-one-out scores.

    Use it to choose between numbers of modes, sizes of the network or priors by how well they
    predict new data. The numbers are the same whichever ArviZ is installed, and need none.

    Args:
        posteriors: by any name, e.g. those of ``count_modes(x).posteriors``.

    Returns:
        A pandas table, best first, with a row for each name as text. It has the columns of
        ``arviz.compare`` (ArviZ 1.x): ``rank``, ``elpd`` (expected log predictive density, in
        nats), ``p`` (effective number of parameters), ``elpd_diff`` (nats below the best),
        ``weight`` (in the mixture that predicts best), ``se``, ``dse`` (standard errors of ``elpd``
        and ``elpd_diff``) and ``warning`` (whether a Pareto shape is too high for the draws). Two
        more are ``worst_k`` (the largest Pareto shape of the leave-one-out weights; above 0.7 the
        score is unreliable), and ``log_evidence`` in nats (NaN for a Markov chain).

    Raises:
        ValueError: if there are none, if they are of different numbers of points, or if points have
            weights: to leave one of those out means nothing.

    Example:
        >>> from lse_vi import fit_posterior
        >>> x = torch.randn(40)
        >>> fits = {
        ...     h: fit_posterior(x, modes=1, hidden=h, draws=100, steps=50, progress=False)
        ...     for h in ((), (2,))
        ... }
        >>> len(compare_densities(fits))
        2
    """
    from pandas import DataFrame  # on first use: it takes long to import, and only this needs it

    named = {str(name): posterior for name, posterior in posteriors.items()}
    for posterior in named.values():
        check_unweighted(posterior)
    sizes = {name: len(posterior.model.x) for name, posterior in named.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(
            f"posteriors must be one or more, all of the same data, but got points by name {sizes}"
        )
    scores = {name: leave_one_out(p.log_likelihood()) for name, p in named.items()}
    ranked = sorted(scores, key=lambda name: -scores[name].elpd)
    best = scores[ranked[0]]
    weights = stack(torch.stack([scores[name].each for name in ranked]))
    rows = []
    for rank, name in enumerate(ranked):
        score, evidence = scores[name], named[name].evidence
        worst = float(score.pareto_k.max())
        rows.append(
            {
                "rank": rank,
                "elpd": score.elpd,
                "p": score.p,
                "elpd_diff": best.elpd - score.elpd,
                "weight": float(weights[rank]),
                "se": score.se,
                "dse": standard_error(best.each - score.each),
                "warning": worst > score.trusted_k,
                "worst_k": worst,
                "log_evidence": evidence.log_evidence if evidence else math.nan,
            }
        )
    return DataFrame(rows, index=ranked)
