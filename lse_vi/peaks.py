r"""Peaks of a log joint: many starts, batched BFGS, Newton's polish, duplicates merged.

A descent that runs off to infinity is not an error in itself: the neck of a funnel has unbounded
density and no mass. So such a path is judged by the mass that Laplace's method gives it,

.. math:: a(z) = l(z) - \tfrac12 \log\det |H(z)| + \tfrac d2 \log 2\pi,

and its point of largest mass stands in for the peak that it lacks. If a grows along the path, the
joint cannot be normalised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.log_joint import LogJoint
from lse_vi.newton import descend

GAIN = 1e-4  # nats that another step would gain where BFGS stops
APART = 1.0  # peaks closer than this, in deviations of the heavier one, are one
FAR = 1e5  # an ascent that gets so far has run off
SMALLEST = 1e-10  # eigenvalue of |H|, relative to the largest
NEGLIGIBLE = -16.0  # log share of the mass below which a peak is left out
HOPELESS = 100.0  # nats below the highest point, at which a slow ascent is given up


@dataclass(frozen=True)
class Peaks:
    """Peaks of the log joint, heaviest first.

    Attributes:
        x: where, (peaks, dim).
        log_joint: how high, (peaks,).
        precision: |H|, the modulus of the Hessian of -l, (peaks, dim, dim).
        hits: starts that came there, (peaks,).
    """

    x: Tensor
    log_joint: Tensor
    precision: Tensor
    hits: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def log_mass(self) -> Tensor:
        """Laplace's estimate of the log evidence of each peak, (peaks,)."""
        return laplace_mass(self.log_joint, self.precision)

    @property
    def scale_tril(self) -> Tensor:
        """T, lower triangular, with T T^T = |H|^-1: (peaks, dim, dim)."""
        return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(self.precision)))

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
    known: Peaks | None = None,
    rounds: int = 8,
    starts: int = 256,
) -> Search:
    """Search until a round finds no new peak and none has been met only once.

    Args:
        log_joint: the target.
        prior: points (n, dim) that say where the mass may lie, such as draws from the prior.
        known: peaks known before; the search then starts from around and between them too.
        rounds: at most so many.
        starts: starts of each round.

    Raises:
        ValueError: if the log joint is NaN or infinite at every start, or cannot be normalised.
    """
    peaks, total, lost = known, 0, 0
    while total < rounds * starts:
        before = 0 if peaks is None else len(peaks)
        found, failed = _round(log_joint, _starts(prior, peaks, starts))
        peaks = _heavy(found if peaks is None else _merge(peaks, found))
        total, lost = total + starts, lost + failed
        if total > starts and len(peaks) == before and bool((peaks.hits > 1).all()):
            break
    assert peaks is not None
    return Search(peaks, total, lost)


def laplace_mass(log_joint: Tensor, precision: Tensor) -> Tensor:
    """l - log det(precision)/2 + d/2 log 2 pi."""
    log_det = torch.linalg.slogdet(precision)[1]
    return log_joint - 0.5 * log_det + 0.5 * precision.shape[-1] * math.log(2 * math.pi)


def moduli(hessian: Tensor) -> Tensor:
    """|H|: the symmetric matrix with the moduli of the eigenvalues, none of them zero."""
    values, axes = torch.linalg.eigh(hessian)
    values = values.abs()
    values = values.clamp_min(SMALLEST * values.amax(-1, keepdim=True).clamp_min(SMALLEST))
    return (axes * values.unsqueeze(-2)) @ axes.mT


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
def _round(log_joint: LogJoint, starts: Tensor) -> tuple[Peaks, int]:
    """Distinct peaks reached from ``starts`` (n, dim), and the number of starts that were lost."""
    ends = _ascend(log_joint, starts)
    waiting = ends.converged.clone()
    found = []
    while bool(waiting.any()):
        best = torch.where(waiting, ends.value, -torch.inf).argmax()
        waiting[best] = False
        peak = _polish(log_joint, ends.x[best : best + 1])
        if peak is not None:
            same = waiting & (peak.distance(ends.x)[:, 0] < APART)
            waiting &= ~same
            found.append(replace(peak, hits=1 + same.sum().reshape(1)))
    found += _strays(log_joint, ends)
    if not found:
        raise ValueError(
            f"model: none of {len(starts)} ascents of the log joint came to an end; is it flat, or "
            "without a maximum? Give every latent variable a proper prior."
        )
    peaks = found[0]
    for peak in found[1:]:
        peaks = _merge(peaks, peak)
    return peaks, len(starts) - int(peaks.hits.sum())


def _polish(log_joint: LogJoint, x: Tensor) -> Peaks | None:
    """The peak near ``x`` (1, dim) by Newton's method; None if there is none."""
    if not bool(log_joint.hessian(x).isfinite().all()):
        return None
    end = descend(
        lambda z: -log_joint(z),
        lambda z: -log_joint.value_and_gradient(z)[1],
        lambda z: -log_joint.hessian(z).nan_to_num(),
        x,
        max_steps=20,
    )
    if not bool(end.converged) or not bool(torch.linalg.eigvalsh(end.hessian).amin() > 0):
        return None
    return Peaks(end.x, -end.energy, moduli(end.hessian), torch.ones(1, dtype=torch.long))


class _Ends(NamedTuple):
    """Where ascents ended, and the way of those that came to no end."""

    x: Tensor  # (n, dim)
    value: Tensor  # (n,)
    converged: Tensor  # (n,)
    trail: Tensor  # (points, runs, dim)


def _ascend(log_joint: LogJoint, starts: Tensor, *, steps: int = 100, runs: int = 8) -> _Ends:
    """Maximise l from every start by BFGS with Armijo's rule, all in one batch."""
    value, gradient = log_joint.value_and_gradient(starts)
    usable = value.isfinite() & gradient.isfinite().all(-1)
    if not bool(usable.any()):
        raise ValueError(
            f"model: the log joint is NaN or infinite at all {len(starts)} starts, e.g. "
            f"{float(value[0])}; check the data for NaN, and the supports of the model's sites"
        )
    x, value, g = starts[usable], value[usable], gradient[usable]
    # The gradient may be huge far out: the first step is at most one unit long.
    inverse = torch.eye(x.shape[1]).to(x) / g.norm(dim=-1).clamp_min(1.0)[:, None, None]
    converged, live = torch.zeros_like(usable[usable]), torch.ones_like(usable[usable])
    trail = [x.clone()]
    for step in range(steps):
        rows = live.nonzero().squeeze(1)
        if not len(rows):
            break
        x0, v0, g0 = x[rows], value[rows], g[rows]
        direction = (inverse[rows] @ g0.unsqueeze(-1)).squeeze(-1)
        x1, v1, g1, moved = _line_search(log_joint, x0, v0, g0, direction)
        inverse[rows] = _update(inverse[rows], x1 - x0, g0 - g1, first=step == 0)
        x[rows], value[rows], g[rows] = x1, v1, g1
        gain = 0.5 * (g1.unsqueeze(-2) @ inverse[rows] @ g1.unsqueeze(-1)).flatten()
        # The model of the curvature must have seen some steps before its word counts.
        there = (gain < GAIN) & (step >= 5)
        converged[rows] = there | ~moved & (gain < 100 * GAIN)
        lost = (x1.norm(dim=-1) > FAR) | (step > 30) & (v1 < value.amax() - HOPELESS)
        live[rows] = moved & ~there & ~lost
        if step % 4 == 3:
            trail.append(x.clone())
    away = (~converged & (value > value.amax() - HOPELESS)).nonzero().squeeze(1)[:runs]
    return _Ends(x, value, converged, torch.stack([points[away] for points in trail]))


def _line_search(
    log_joint: LogJoint, x: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Armijo's rule in every row: the new x, l, gradient, and whether there was a step."""
    slope = (gradient * direction).sum(-1)
    x, value, gradient = x.clone(), value.clone(), gradient.clone()
    todo, t = torch.arange(len(x), device=x.device), 1.0
    for _ in range(20):
        trial = x[todo] + t * direction[todo]
        v, g = log_joint.value_and_gradient(trial)
        good = (v >= value[todo] + 1e-4 * t * slope[todo]) & g.isfinite().all(-1)
        x[todo[good]], value[todo[good]], gradient[todo[good]] = trial[good], v[good], g[good]
        todo, t = todo[~good], t / 4
        if not len(todo):
            break
    moved = torch.ones_like(value, dtype=torch.bool)
    moved[todo] = False
    return x, value, gradient, moved


def _update(inverse: Tensor, s: Tensor, y: Tensor, *, first: bool) -> Tensor:
    """BFGS update of inverse Hessians (n, dim, dim), skipped where there is no curvature."""
    sy = (s * y).sum(-1)
    curved = sy > 1e-10 * s.norm(dim=-1) * y.norm(dim=-1)
    rho = torch.where(curved, 1 / torch.where(curved, sy, 1.0), 0.0)[:, None, None]
    eye = torch.eye(s.shape[1]).to(s)
    if first:  # scale before the first update (Nocedal & Wright 2006, Eq. 6.20)
        scale = torch.where(curved, sy / torch.where(curved, y.square().sum(-1), 1.0), 0.0)
        inverse = torch.where(curved[:, None, None], scale[:, None, None] * eye, inverse)
    left = eye - rho * s.unsqueeze(-1) * y.unsqueeze(-2)
    return left @ inverse @ left.mT + rho * s.unsqueeze(-1) * s.unsqueeze(-2)


def _strays(log_joint: LogJoint, ends: _Ends) -> list[Peaks]:
    """The point of largest Laplace mass on the ways that came to no end, if there is one."""
    flat = ends.trail.flatten(0, 1)
    if not len(flat):
        return []
    hessian, value = -log_joint.hessian(flat), log_joint(flat)
    fine = hessian.isfinite().all(-1).all(-1) & value.isfinite()
    eye = torch.eye(flat.shape[1]).to(flat)
    precision = moduli(torch.where(fine[:, None, None], hessian, eye))
    mass = torch.where(fine, laplace_mass(value, precision), -torch.inf)
    best = mass.argmax().reshape(1)
    if float(flat[best].norm()) > FAR:
        at = ", ".join(f"{v:.3g}" for v in flat[best].flatten().tolist())
        raise ValueError(
            "model: the log joint is unbounded, its mass grows without end towards "
            f"({at}) in unconstrained coordinates, where it is {float(value[best]):.4g}. The "
            "posterior is improper: give every latent variable a proper prior."
        )
    return [Peaks(flat[best], value[best], precision[best], torch.ones(1, dtype=torch.long))]


def _merge(peaks: Peaks, more: Peaks) -> Peaks:
    """Both sets, those that coincide once, heaviest first."""
    both = Peaks(*map(torch.cat, zip(vars(peaks).values(), vars(more).values(), strict=True)))
    both = both.select(both.log_mass.argsort(descending=True, stable=True))
    near = both.distance(both.x) < APART  # [i, k]: i lies within the frame of k
    hits, kept = both.hits.clone(), []
    for i in range(len(both)):
        twins = [k for k in kept if near[i, k]]
        if twins:
            hits[twins[0]] += hits[i]
        else:
            kept.append(i)
    return replace(both, hits=hits).select(torch.tensor(kept))


def _heavy(peaks: Peaks) -> Peaks:
    """Without the peaks of no account."""
    share = torch.log_softmax(peaks.log_mass, 0)
    return peaks.select((share > NEGLIGIBLE).nonzero().squeeze(1))
