"""How far a guide can be trusted: evidence, importance weights, and what lies outside it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.distribution.density import LSEDensity
from lse_vi.guides.log_joint import LogJoint
from lse_vi.guides.peak_search import Peaks, find_peaks
from lse_vi.numerics.pareto import smooth

COVERED = 3.0  # nats by which the guide may lie below a peak of the posterior and still cover it
LEAST = 0.01  # share of the mass of a peak that is worth reporting


class Importance(NamedTuple):
    """Draws of a guide as importance samples of the posterior.

    Attributes:
        draws: exact draws of the guide, unconstrained, (n, dim).
        log_weights: l - log q at the draws, (n,).
        elbo: their mean, in nats.
        elbo_error: its standard deviation.
        log_evidence: log of their mean weight, in nats.
        log_evidence_error: its standard deviation, with that of the guide's log Z.
        ess: effective sample size as a share of n, (sum w)^2 / (n sum w^2).
        k_hat: shape of the tail of the weights (Vehtari et al. 2024); above 0.7 the weights, and
            what is made of them, cannot be trusted.
    """

    draws: Tensor
    log_weights: Tensor
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    k_hat: float


@torch.no_grad()
def importance(density: LSEDensity, log_joint: LogJoint, *, samples: int = 10_000) -> Importance:
    """Exact draws of ``density`` weighted by the posterior, and what the weights say.

    Raises:
        ValueError: for a log joint that is NaN at some draws, or minus infinity at all.
    """
    draws = density.sample((samples,))
    log_w = log_joint(draws) - density.log_prob(draws)
    if bool(log_w.isnan().any()):
        bad = log_joint.constrain(draws[log_w.isnan()][0])
        raise ValueError(f"model: the log joint is NaN inside the guide, e.g. at {bad}")
    if bool((log_w == -torch.inf).all()):
        bad = log_joint.constrain(draws[0])
        raise ValueError(
            f"model: the log joint is minus infinity at all {samples} draws of the guide, e.g. at "
            f"{bad}; fit the guide first, and check the supports of the model's sites"
        )
    log_w = log_w.clamp_min(torch.finfo(log_w.dtype).min)  # log 0, where the model has no density
    log_z_error = float(density.log_normalizer_error)
    w = (log_w - log_w.amax()).exp()
    mean, sd = w.mean(), w.std()
    return Importance(
        draws=draws,
        log_weights=log_w,
        elbo=float(log_w.mean()),
        elbo_error=math.hypot(float(log_w.std()) / math.sqrt(samples), log_z_error),
        log_evidence=float(log_w.amax() + mean.log()),
        # delta method: sd(log mean) = sd / (mean sqrt n)
        log_evidence_error=math.hypot(float(sd / mean) / math.sqrt(samples), log_z_error),
        ess=float(mean**2 / w.square().mean()),
        k_hat=smooth(log_w)[1],
    )


class Missed(NamedTuple):
    """Peaks of the posterior that a guide leaves out, heaviest first, and their share of its mass.

    ``share`` is Laplace's estimate, (peaks,).
    """

    peaks: Peaks
    share: Tensor


def missed_modes(
    log_joint: LogJoint, density: LSEDensity, prior: Tensor, log_evidence: float
) -> Missed:
    """Search afresh for peaks where the guide's density is far below the posterior's.

    Importance weights cannot see them: the guide never draws there.

    Args:
        prior: points (n, dim) from which the search starts, as in :func:`find_peaks`.
        log_evidence: of the guide's part of the posterior.
    """
    peaks = find_peaks(log_joint, prior, rounds=4).peaks
    with torch.no_grad():
        outside = density.log_prob(peaks.x) < peaks.log_joint - log_evidence - COVERED
    peaks = peaks.select(outside & peaks.proper)
    total = torch.logsumexp(torch.cat([peaks.log_mass, peaks.x.new_tensor([log_evidence])]), 0)
    share = (peaks.log_mass - total).exp()
    return Missed(peaks.select(share >= LEAST), share[share >= LEAST])
