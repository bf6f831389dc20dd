"""How far a guide can be trusted: evidence, importance weights, and missed peaks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.distribution.density import LSEDensity
from lse_vi.guides.peaks import Peaks
from lse_vi.guides.proposal import Proposal
from lse_vi.joint.log_joint import LogJoint, without_nan
from lse_vi.joint.supports import cut_share, turns
from lse_vi.numerics.pareto import smooth

# Nats by which the guide's log density may lie below the posterior's at a peak that it covers: a
# guide that is a rough fit there is lower by less, and one without a mode there by far more.
COVERED = 3.0
MANY_LOST = 0.02  # share of draws without density that is said
REPORTED_SHARE = 0.01  # of the posterior's mass: a missed peak with less changes no conclusion


class Importance(NamedTuple):
    """Draws of a guide as importance samples of the posterior: how well the guide fits.

    Attributes:
        draws: exact draws of the guide, unconstrained, (n, dim).
        log_weights: l - log q at the draws, in nats, (n,).
        elbo: mean of the log weights, in nats.
        elbo_error: standard deviation of ``elbo``, with that of the guide's log Z.
        log_evidence: log of the mean weight, in nats.
        log_evidence_error: standard deviation of ``log_evidence``, with that of the guide's log Z.
        ess: effective sample size as a share of n, (sum w)^2 / (n sum w^2).
        k_hat: Pareto shape of the tail of the weights (Vehtari et al. 2024); above 0.7 no estimate
            from the weights can be trusted.
        lost: share of the draws without density, where l is minus infinity.
    """

    draws: Tensor
    log_weights: Tensor
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    k_hat: float
    lost: float


@torch.no_grad()
def importance(density: LSEDensity, log_joint: LogJoint, *, samples: int = 10_000) -> Importance:
    """Draw from ``density``, weight the draws by the posterior, and estimate how well it fits.

    Args:
        density: of the guide.
        log_joint: of the model.
        samples: number of draws.

    Raises:
        ValueError: for a log joint that is NaN at some draws, or minus infinity at all.
    """
    draws = density.sample((samples,))
    log_w = without_nan(log_joint(draws)) - density.log_prob(draws)
    if bool((log_w == -torch.inf).all()):
        bad = log_joint.constrain(draws[0])
        raise ValueError(
            f"model: the log joint is minus infinity at all {samples} draws of the guide, e.g. at "
            f"{bad}; fit the guide first, and check the supports of the model's sites"
        )
    lost = float((log_w == -torch.inf).double().mean())
    log_w = log_w.clamp_min(torch.finfo(log_w.dtype).min)  # finite where the model's density is 0
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
        lost=lost,
    )


def model_doubts(log_joint: LogJoint, lost: float, draws: Tensor, weights: Tensor) -> list[str]:
    """What the model may have amiss, in words: factors that fail, and angles that are cut.

    Args:
        log_joint: of the model.
        lost: share of a guide's draws where it is minus infinity.
        draws: (n, dim), in its units.
        weights: of the draws, (n,), with sum one: those of the posterior.
    """
    doubts = []
    if log_joint.factors_fail and lost > MANY_LOST:
        doubts.append(
            f"{100 * lost:.1f} % of the draws from the guide's modes have no density, as a "
            "Cholesky factor of the model does not exist there: they weigh nothing, and an ELBO "
            "over them is minus infinity. If rounding is the cause, add a jitter to the diagonal."
        )
    sites = [site for site, _ in log_joint.program.unpack(draws[0]) if bool(turns(site).any())]
    if sites:
        values = log_joint.values(draws)
        shares = {s["name"]: cut_share(s, values[s["name"]], weights) for s in sites}
        doubts += [
            f"site {name!r} may be anywhere in a turn, and {100 * share:.0f} % of its mass is near "
            "the two ends. If it is an angle, a mode there is cut in two: write it as "
            "VonMises(0, 1e-3), which has no ends and is as good as uniform."
            for name, share in shares.items()
            if share
        ]
    return doubts


class Cover(NamedTuple):
    """Draws of the defensive mixture around a guide, and the log joint there.

    Unlike the guide's own draws they see what the guide lacks.

    Attributes:
        draws: of the mixture r, (n, dim).
        log_joint: l there, in nats, (n,).
        log_weights: l - log r, in nats, (n,).
    """

    draws: Tensor
    log_joint: Tensor
    log_weights: Tensor

    @classmethod
    @torch.no_grad()
    def draw(cls, proposal: Proposal, log_joint: LogJoint, *, samples: int = 10_000) -> Cover:
        """``samples`` draws of ``proposal``."""
        draws, _ = proposal.sample(samples)
        value, log_prior = log_joint.with_prior(draws)
        value = value.nan_to_num(-torch.inf, posinf=-torch.inf)
        return cls(draws, value, value - proposal.log_prob(draws, log_prior))

    @property
    def log_evidence(self) -> float:
        """log of the mean weight, in nats."""
        return float(self.log_weights.logsumexp(0)) - math.log(len(self.draws))

    @property
    def log_evidence_error(self) -> float:
        """Standard deviation of ``log_evidence``, in nats."""
        w = torch.softmax(self.log_weights, 0)
        return math.sqrt(float(w.square().sum()))

    @torch.no_grad()
    def divergence(self, density: LSEDensity) -> float:
        """KL(p||q) of a guide, in nats: large where it lacks a part of the posterior."""
        log_p = self.log_weights - self.log_weights.logsumexp(0)  # of each draw under p
        gap = self.log_joint - self.log_evidence - density.log_prob(self.draws)
        return float((log_p.exp() * gap.nan_to_num(0.0, neginf=0.0)).sum())


class Missed(NamedTuple):
    """Peaks of the posterior that a guide does not cover: it has no room for them.

    Attributes:
        peaks: heaviest first.
        share: of the posterior's mass, by Laplace's approximation, (peaks,).
    """

    peaks: Peaks
    share: Tensor


def missed_modes(peaks: Peaks, density: LSEDensity, log_evidence: float) -> Missed:
    """The peaks at which the guide lies far below the posterior.

    Importance weights cannot show such peaks, since the guide never draws there.

    Args:
        peaks: all that are known.
        density: of the guide.
        log_evidence: in nats, of the part of the posterior that the guide covers.
    """
    peaks = uncovered(peaks, density, log_evidence)
    total = torch.logsumexp(torch.cat([peaks.log_mass, peaks.x.new_tensor([log_evidence])]), 0)
    share = (peaks.log_mass - total).exp()
    return Missed(peaks.select(share >= REPORTED_SHARE), share[share >= REPORTED_SHARE])


@torch.no_grad()
def uncovered(peaks: Peaks, density: LSEDensity, log_evidence: float) -> Peaks:
    """Those of ``peaks`` at which a guide's ``density`` lies far below the posterior."""
    outside = density.log_prob(peaks.x) < peaks.log_joint - log_evidence - COVERED
    return peaks.select(outside & peaks.proper)
