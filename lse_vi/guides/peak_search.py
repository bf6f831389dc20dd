r"""Peaks of a log joint: many starts, batched BFGS, Newton's polish, duplicates merged.

A descent that runs off to infinity is not an error in itself: the neck of a funnel has unbounded
density and no mass. So such a path is judged by the mass that Laplace's method gives it,

.. math:: a(z) = l(z) - \tfrac12 \log\det |H(z)| + \tfrac d2 \log 2\pi,

and its point of largest mass stands in for the peak that it lacks. If a grows along the path, the
joint cannot be normalised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.guides.log_joint import LogJoint
from lse_vi.numerics.bfgs import Ends, ascend
from lse_vi.numerics.linear_algebra import laplace_mass, moduli, scale_tril
from lse_vi.numerics.newton import descend

SAME_PEAK = 1.0  # peaks closer than this, in deviations of the heavier one, are one
NEGLIGIBLE = -16.0  # log share of the mass below which a peak is left out
ROUND = 128  # of each round of the search
OFTEN = 3  # the search goes on until every peak was met so often


@dataclass(frozen=True)
class Peaks:
    """Peaks of the log joint, heaviest first.

    Attributes:
        x: where, (peaks, dim).
        log_joint: how high, (peaks,).
        precision: |H|, the modulus of the Hessian of -l, (peaks, dim, dim).
        hits: starts that came there, (peaks,).
        proper: whether it is a maximum, not a point on a way to infinity, (peaks,).
    """

    x: Tensor
    log_joint: Tensor
    precision: Tensor
    hits: Tensor
    proper: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def log_mass(self) -> Tensor:
        """Laplace's estimate of the log evidence of each peak, (peaks,)."""
        return laplace_mass(self.log_joint, self.precision)

    @property
    def scale_tril(self) -> Tensor:
        """T, lower triangular, with T T^T = |H|^-1: (peaks, dim, dim)."""
        return scale_tril(self.precision)

    def distance(self, x: Tensor) -> Tensor:
        """Mahalanobis distance of ``x`` (n, dim) from each peak, (n, peaks)."""
        step = x.unsqueeze(-2) - self.x
        return torch.einsum("nki,kij,nkj->nk", step, self.precision, step).clamp_min(0).sqrt()

    def select(self, index: Tensor) -> Peaks:
        """The peaks at ``index``."""
        return Peaks(*(part[index] for part in vars(self).values()))


class Search(NamedTuple):
    """What :func:`find_peaks` found, and how much it looked."""

    peaks: Peaks
    starts: int
    lost: int  # starts with no finite log joint, or that came to no peak


def find_peaks(
    log_joint: LogJoint,
    prior: Tensor,
    *,
    rounds: int = 16,
) -> Search:
    """Search until a round finds nothing new and every peak was met three times.

    Args:
        log_joint: the target.
        prior: points (n, dim) that say where the mass may lie, such as draws from the prior.
        rounds: at most so many.

    Raises:
        ValueError: if the log joint is NaN or infinite at every start, or cannot be normalised.
    """
    peaks, total, lost, before = None, 0, 0, 0
    while total < rounds * ROUND:
        ends = _ascend(log_joint, _starts(prior, peaks, ROUND))
        found = _distinct(log_joint, ends)
        if peaks is None:
            found = _join(found, _stray(log_joint, ends, alone=found is None))
        peaks = _join(peaks, found)
        if peaks is None:
            raise ValueError(
                f"model: none of {ROUND} ascents of the log joint came to an end; is it flat, or "
                "without a maximum? Give every latent variable a proper prior."
            )
        total, lost = total + ROUND, lost + ROUND - int(ends.converged.sum())
        heavy = _heavy(peaks)
        if total > ROUND and len(heavy) == before and bool((heavy.hits >= OFTEN).all()):
            break
        before = len(heavy)
    return Search(heavy, total, lost)


@torch.no_grad()
def climb(log_joint: LogJoint, x: Tensor) -> Tensor:
    """Where ascents of the log joint from ``x`` (n, dim) end; ``x`` itself where they run off.

    A row with a log joint that is not finite stays where it is.
    """
    ends = _ascend(log_joint, x)
    summits = x.clone()
    summits[ends.rows[ends.converged]] = ends.x[ends.converged]
    return summits


def _ascend(log_joint: LogJoint, starts: Tensor) -> Ends:
    """Ascents of l from all starts at which it is finite."""
    ends = ascend(log_joint.value_and_gradient, starts)
    if not len(ends.rows):
        raise ValueError(
            f"model: the log joint is NaN or infinite at all {len(starts)} starts, e.g. "
            f"{float(log_joint(starts[:1]))}; check the data for NaN, and the supports of the "
            "model's sites"
        )
    return ends


@torch.no_grad()
def _starts(prior: Tensor, peaks: Peaks | None, n: int) -> Tensor:
    """Over-dispersed points (n, dim): the prior, wider than it, wide without it, off the peaks."""
    dim, center = prior.shape[1], prior.median(0).values

    def log_uniform(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(n, 1).to(prior)

    drawn = prior[torch.randint(len(prior), (n,))]
    noise = torch.randn(n, dim).to(prior)
    kinds = [
        drawn,
        center + (drawn - center) * log_uniform(1.0, 10.0),
        center + noise * log_uniform(0.1, 100.0),
    ]
    if peaks is not None:
        one, two = (torch.randint(len(peaks), (n,)) for _ in range(2))
        hop = (peaks.scale_tril[one] @ noise.unsqueeze(-1)).squeeze(-1) * log_uniform(1.0, 30.0)
        child = torch.where(torch.rand(n, dim).to(prior) < 0.5, peaks.x[one], peaks.x[two])
        kinds += [peaks.x[one] + hop, child + 0.1 * hop]
    return torch.stack(kinds)[torch.arange(n) % len(kinds), torch.arange(n)]


@torch.no_grad()
def _distinct(log_joint: LogJoint, ends: Ends) -> Peaks | None:
    """The peaks among the ends, each once."""
    if not bool(ends.converged.any()):
        return None
    x, value, gradient = (part[ends.converged] for part in ends[:3])
    hessian = -log_joint.hessian(x)
    fine = hessian.isfinite().all(-1).all(-1)
    x, value, gradient, hessian = x[fine], value[fine], gradient[fine], hessian[fine]
    precision = moduli(hessian)
    gain = 0.5 * (gradient * torch.linalg.solve(precision, gradient)).sum(-1)
    at_peak = (torch.linalg.eigvalsh(hessian)[..., 0] > 0) & (gain < 0.1)
    if not bool(at_peak.any()):
        return None
    rough = Peaks(x, value, precision, torch.ones_like(gain).long(), at_peak).select(at_peak)
    rough = _merge(rough)
    end = descend(
        lambda z: -log_joint(z),
        lambda z: -log_joint.value_and_gradient(z)[1],
        lambda z: -log_joint.hessian(z).nan_to_num(),
        rough.x,
        max_steps=10,
    )
    fine = torch.linalg.eigvalsh(end.hessian)[..., 0] > 0
    exact = Peaks(end.x, -end.energy, moduli(end.hessian), rough.hits, rough.proper)
    return _merge(exact.select(fine)) if bool(fine.any()) else None


def _stray(log_joint: LogJoint, ends: Ends, *, alone: bool) -> Peaks | None:
    """The point of largest Laplace mass on the ways that came to no end, if it is not the last.

    Raises:
        ValueError: if it is the last, and no other start came to a peak.
    """
    paths, points = ends.trail.shape[1], ends.trail.flatten(0, 1)
    if not paths:
        return None
    mass, value, _ = _weigh(log_joint, points)
    best = int(mass.argmax())
    last = len(points) - paths + best % paths  # of the same path
    grows = bool(mass[last].isfinite()) and bool(mass[last] >= mass[best])
    if not grows:
        return _heaviest(log_joint, points[best], hits=paths)
    if alone:
        at = ", ".join(f"{v:.3g}" for v in points[best].tolist())
        raise ValueError(
            "model: the log joint is unbounded, and its mass grows without end towards "
            f"({at}) in unconstrained coordinates, where it is {float(value[best]):.4g}. The "
            "posterior is improper: give every latent variable a proper prior."
        )
    return None


def _weigh(log_joint: LogJoint, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Laplace mass (n,), l (n,) and |H| (n, dim, dim) at any points; no mass where l has no H."""
    hessian, value = -log_joint.hessian(x), log_joint(x)
    fine = hessian.isfinite().all(-1).all(-1) & value.isfinite()
    precision = moduli(torch.where(fine[:, None, None], hessian, torch.eye(x.shape[1]).to(x)))
    return torch.where(fine, laplace_mass(value, precision), -torch.inf), value, precision


@torch.no_grad()
def _heaviest(log_joint: LogJoint, x: Tensor, *, hits: int, rounds: int = 24) -> Peaks:
    """Climb the Laplace mass from ``x`` (dim,), by the best of some random steps at a time."""
    for _ in range(rounds):
        _, _, precision = _weigh(log_joint, x.unsqueeze(0))
        noise = torch.randn(32, len(x), 1).to(x) * torch.rand(32, 1, 1).to(x)
        step = torch.linalg.solve_triangular(torch.linalg.cholesky(precision).mT, noise, upper=True)
        points = torch.cat([x.unsqueeze(0), x + step.squeeze(-1)])
        mass, value, precision = _weigh(log_joint, points)
        best = mass.argmax().reshape(1)
        x = points[best].squeeze(0)
    count = torch.full_like(best, hits)
    return Peaks(points[best], value[best], precision[best], count, torch.zeros_like(best).bool())


def _join(one: Peaks | None, two: Peaks | None) -> Peaks | None:
    """Both sets, those that coincide once."""
    if one is None or two is None:
        return one or two
    return _merge(Peaks(*map(torch.cat, zip(vars(one).values(), vars(two).values(), strict=True))))


def _merge(peaks: Peaks) -> Peaks:
    """Heaviest first, those that coincide once."""
    peaks = peaks.select(peaks.log_mass.argsort(descending=True, stable=True))
    near = (peaks.distance(peaks.x) < SAME_PEAK).cpu()  # [i, k]: i lies within the frame of k
    hits, kept = peaks.hits.clone(), list[int]()
    for i in range(len(peaks)):
        twins = [k for k in kept if near[i, k]]
        if twins:
            hits[twins[0]] += hits[i]
        else:
            kept.append(i)
    return replace(peaks, hits=hits).select(torch.tensor(kept))


def _heavy(peaks: Peaks) -> Peaks:
    """Without the peaks of no account."""
    share = torch.log_softmax(peaks.log_mass, 0)
    return peaks.select(share > NEGLIGIBLE)
