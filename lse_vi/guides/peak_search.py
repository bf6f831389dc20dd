r"""Peaks of a log joint: BFGS from many starts, duplicates merged, a few Newton steps at the end.

An ascent that runs off to infinity is not always an error: the neck of a funnel has unbounded
density but a vanishing mass. So each point of such a path is judged by its log mass in Laplace's
approximation,

.. math:: a(z) = l(z) - \tfrac12 \log\det |H(z)| + \tfrac d2 \log 2\pi,

and the point with the largest a is used in place of a peak. If a grows up to the end of the path,
the joint cannot be normalised.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.guides.peaks import Peaks
from lse_vi.joint.log_joint import LogJoint
from lse_vi.numerics.bfgs import Ends, ascend
from lse_vi.numerics.linear_algebra import laplace_mass, moduli, scale_tril
from lse_vi.numerics.newton import Descent, descend
from lse_vi.random.draws import rand, randint, randn

SAME_PEAK = 1.0  # peaks closer than this, in standard deviations of both, are merged
NEGLIGIBLE = -16.0  # log share of the mass below which a peak is dropped: 1e-7, never drawn
ROUND_STARTS = 512  # ascents of a round, in one batch: hardly slower than one ascent
LEAST_ROUNDS = 2  # of a search: a peak that one start in 200 reaches is then missed in 0.6 %
# A search is over once the peaks that were reached at most so often hold less than this share of
# the mass: those not met at all then hold about as little, if they are like them (Good 1953).
RARE_HITS, RARE_MASS = 2, 1e-3
UNSEEN = 0.01  # share of the mass that a search may not have met, from which on it is said
# Ends of ascents that are asked whether they are at an edge, and how far ahead the edge may be: of
# ascents that stopped short of it, in units in which the prior is of order one.
EDGE_ENDS, EDGE_STEPS = 64, (1e-6, 1e-4, 1e-2, 0.1)
NEAR = 0.1  # nats left to gain, by Newton, close to a maximum; half or more on the way to infinity
NEWTON_STEPS = 10  # at most: near a peak Newton's steps converge quadratically
# Multiples of the highest point, and by how much the log joint grows from one to the next if it is
# unbounded: by two if it is linear, by four if it is quadratic.
SUPERLINEAR = 3.0
BEYOND = torch.tensor([1.0, 2.0, 4.0, 8.0])
LONG = 600  # evaluations of ascents where the usual 150 lead nowhere, as on a long and narrow ridge
FIRST_STEPS = 200  # of Newton from where nothing is known: a scale grows by a factor e in each
# Ranges of the factors by which starts are spread, log-uniform: the prior's draws widened; a normal
# around the prior's median, in units of 1; and steps off a peak, in its standard deviations.
PRIOR_SPREAD, NORMAL_SPREAD, PEAK_SPREAD = (1.0, 10.0), (0.1, 100.0), (1.0, 30.0)
CHILD_NOISE = 0.1  # of a step off a peak, added to a mixture of two peaks, so that mixtures differ
# Random steps from which the best is taken, and how often: crude, as it only starts a mode.
STRAY_STEPS, STRAY_ROUNDS = 32, 24


class Search(NamedTuple):
    """What :func:`find_peaks` found, and from how many starts.

    Attributes:
        peaks: without those of negligible mass.
        starts: number of all ascents.
        lost: number of starts without a finite log joint, or whose ascent did not converge.
        unseen: share of the mass that the search may not have met: that of the peaks which few
            ascents reached, by Laplace's approximation (Good 1953).
        edge: whether an ascent ended at an edge, beyond which there is no density.
    """

    peaks: Peaks
    starts: int
    lost: int
    unseen: float
    edge: bool = False

    def doubts(self, *, necks_met: bool = False) -> list[str]:
        """What may be missing, in words; ``necks_met``: but not in the neck of a funnel."""
        doubts = []
        if self.unseen > UNSEEN:
            doubts.append(
                f"after {self.starts} ascents, peaks that one or two of them reached hold "
                f"{100 * self.unseen:.1f} % of the mass: peaks that none has reached may hold as "
                "much. The error of the log evidence allows for it."
            )
        if self.edge:
            doubts.append(
                "the log joint ends at an edge, beyond which it is minus infinity: draws beyond it "
                "are lost, and the ELBO is minus infinity if there are any. Write the edge as the "
                "support of a site (Uniform, ImproperUniform) in place of a factor."
            )
        elif not (necks_met or bool(self.peaks.real.proper.all())):
            doubts.append(
                "the log joint has no maximum in some direction (as in the neck of a funnel), so "
                "modes start from points on the way, and mass beyond them may be missing. "
                "Reparametrise the model (e.g. non-centred)."
            )
        return doubts


def find_peaks(log_joint: LogJoint, prior: Tensor, *, rounds: int = 8) -> Search:
    """Search until the peaks that few ascents reached hold hardly any mass.

    Args:
        log_joint: of the model.
        prior: points (n, dim) where the mass may lie, such as draws from the prior.
        rounds: at most so many, of 512 ascents each.

    Raises:
        ValueError: if the log joint is NaN or infinite at every start, or cannot be normalised.
    """
    peaks, lost, unseen, edge = None, 0, 1.0, False
    for done in range(1, rounds + 1):
        starts = _starts(prior, peaks, ROUND_STARTS)
        ends = _ascend(log_joint, starts, rounds=rounds - done + 1)
        _check_bounded(log_joint, ends.x[ends.value.argmax()])
        found = _distinct(log_joint, ends)
        if peaks is None:
            edge = _at_edge(log_joint, ends)
            stray = _stray(log_joint, ends, alone=False, edge=edge)
            if found is None and stray is None:
                ends = _ascend(log_joint, starts, steps=LONG)
                found = _distinct(log_joint, ends)
                stray = _stray(log_joint, ends, alone=found is None, edge=edge)
            found = _join(found, stray)
        peaks = _join(peaks, found)
        peaks = peaks and peaks.sound
        if peaks is None:
            raise ValueError(
                f"model: none of {ROUND_STARTS} ascents of the log joint came to an end; is it "
                "flat, or without a maximum? Give every latent variable a proper prior."
            )
        lost += ROUND_STARTS - int(ends.converged.sum())
        real = peaks.real
        unseen = float(torch.softmax(real.log_mass, 0)[real.hits <= RARE_HITS].sum())
        if done >= LEAST_ROUNDS and unseen < RARE_MASS:
            break
    assert peaks is not None  # there is at least one round
    return Search(_heavy(peaks), done * ROUND_STARTS, lost, unseen, edge)


def _check_bounded(log_joint: LogJoint, top: Tensor) -> None:
    """The log joint must not grow on and on behind ``top`` (dim,), the highest point reached.

    Where it grows as a power, an ascent ends when its steps drown in rounding, and looks like one
    at a peak. Growth in proportion to the distance is left to the mass: a funnel's neck has it.
    """
    beyond = log_joint(BEYOND.to(top).unsqueeze(-1) * top)
    grows = (beyond[1:] == torch.inf) | (beyond[1:] > SUPERLINEAR * beyond[:-1].abs())
    if bool(grows.all()):
        raise ValueError(
            f"model: the log joint is unbounded: it is {float(beyond[0]):.3g} where the search "
            f"ended, {float(beyond[1]):.3g} twice as far from the prior's median, and so on. The "
            "posterior is improper: check the signs of factors, and give every latent variable a "
            "proper prior."
        )


@torch.no_grad()
def nearest_normal(log_joint: LogJoint, starts: Tensor) -> tuple[Tensor, Tensor]:
    """A normal law about the highest point that Newton's steps, which know no units, reach.

    Returns its mean (dim,) and the Cholesky factor of its covariance (dim, dim).
    """
    end = _newton(log_joint, starts, steps=FIRST_STEPS)
    best = (-end.energy).nan_to_num(-torch.inf).argmax()
    return end.x[best], scale_tril(moduli(end.hessian[best]))


@torch.no_grad()
def climb(log_joint: LogJoint, x: Tensor) -> Tensor:
    """The peaks (n, dim) that ascents of the log joint from ``x`` (n, dim) reach.

    A row of ``x`` whose ascent does not converge is returned as it is.
    """
    ends = _ascend(log_joint, x)
    summits = x.clone()
    summits[ends.rows[ends.converged]] = ends.x[ends.converged]
    return summits


def _ascend(log_joint: LogJoint, starts: Tensor, **limits: int) -> Ends:
    """Ascents of l from all starts at which it is finite."""
    ends = ascend(log_joint.value_and_gradient, log_joint.hessian, starts, **limits)
    if not len(ends.rows):
        raise ValueError(
            f"model: the log joint is NaN or infinite at all {len(starts)} starts, e.g. "
            f"{float(log_joint(starts[:1]))}; check the data for NaN, and the supports of the "
            "model's sites"
        )
    return ends


@torch.no_grad()
def _starts(prior: Tensor, peaks: Peaks | None, n: int) -> Tensor:
    """Starts (n, dim) that are spread wider than the mass, of several kinds in equal numbers.

    Draws from the prior; these draws moved away from the median; a normal around the median; and,
    once there are peaks, random steps off a peak, and mixtures of the coordinates of two peaks.
    """
    dim, center = prior.shape[1], prior.median(0).values

    def log_uniform(low: float, high: float) -> Tensor:
        """A factor for each start, (n, 1)."""
        return low * (high / low) ** rand(n, 1).to(prior)

    drawn = prior[randint(len(prior), n)]
    noise = randn(n, dim).to(prior)
    kinds = [
        drawn,
        center + (drawn - center) * log_uniform(*PRIOR_SPREAD),
        center + noise * log_uniform(*NORMAL_SPREAD),
    ]
    if peaks is not None:
        one, two = (randint(len(peaks), n) for _ in range(2))
        step = (peaks.scale_tril[one] @ noise.unsqueeze(-1)).squeeze(-1)
        hop = step * log_uniform(*PEAK_SPREAD)
        child = torch.where(rand(n, dim).to(prior) < 0.5, peaks.x[one], peaks.x[two])
        kinds += [peaks.x[one] + hop, child + CHILD_NOISE * hop]
    return torch.stack(kinds)[torch.arange(n) % len(kinds), torch.arange(n)]


@torch.no_grad()
def _distinct(log_joint: LogJoint, ends: Ends) -> Peaks | None:
    """The peaks among the ends of ascents, polished, without duplicates; None if there are none."""
    if not bool(ends.converged.any()):
        return None
    x, value, _, hessian = (part[ends.converged] for part in ends[:4])
    hits = torch.ones_like(value).long()
    maximum = torch.linalg.eigvalsh(-hessian)[..., 0] > 0
    rough = Peaks(x, value, moduli(-hessian), hits, maximum).select(maximum)
    if not len(rough):
        return None
    rough = _merge(rough)
    end = _newton(log_joint, rough.x, steps=NEWTON_STEPS)
    fine = torch.linalg.eigvalsh(end.hessian)[..., 0] > 0
    exact = Peaks(end.x, -end.energy, moduli(end.hessian), rough.hits, rough.proper)
    return _merge(exact.select(fine)) if bool(fine.any()) else None


def _newton(log_joint: LogJoint, x: Tensor, *, steps: int) -> Descent:
    """Newton's steps up the log joint from ``x`` (n, dim); the energy is -l."""
    return descend(
        lambda z: -log_joint(z),
        lambda z: -log_joint.value_and_gradient(z)[1],
        lambda z: -log_joint.hessian(z).nan_to_num(),
        x,
        max_steps=steps,
    )


def _at_edge(log_joint: LogJoint, ends: Ends) -> bool:
    """Whether most ascents without convergence stopped where a step up leads to no density."""
    at = (~ends.converged).nonzero().squeeze(1)[:EDGE_ENDS]
    if not len(at):
        return False
    up = torch.nn.functional.normalize(ends.gradient[at], dim=-1).unsqueeze(1)
    ahead = ends.x[at].unsqueeze(1) + up * up.new_tensor(EDGE_STEPS).unsqueeze(1)
    beyond = log_joint(ahead.flatten(0, 1)).unflatten(0, (len(at), -1)) == -torch.inf
    return float(beyond.any(1).double().mean()) > 0.5


def _stray(log_joint: LogJoint, ends: Ends, *, alone: bool, edge: bool) -> Peaks | None:
    """The point of largest Laplace mass on the paths of ascents that did not converge.

    None if there is no such path, or if the mass is largest at the end of its path, where it may
    still grow.

    Args:
        log_joint: of the model.
        ends: of the ascents.
        alone: whether no ascent reached a peak.
        edge: whether the paths ended at an edge, where no mass can grow.

    Raises:
        ValueError: if the mass is largest at the end of its path, and no ascent reached a peak.
    """
    paths, points = ends.trail.shape[1], ends.trail.flatten(0, 1)
    if not paths:
        return None
    mass, value, _ = _weigh(log_joint, points)
    best = int(mass.argmax())
    last = len(points) - paths + best % paths  # the end of the same path
    grows = not edge and bool(mass[last].isfinite()) and bool(mass[last] >= mass[best])
    if not grows or (alone and _below_a_peak(log_joint, points[last])):
        return _heaviest(log_joint, points[best], hits=paths)
    if alone:
        at = ", ".join(f"{v:.3g}" for v in points[best].tolist())
        raise ValueError(
            "model: the log joint is unbounded, and its mass grows without end towards "
            f"({at}) in unconstrained coordinates, where it is {float(value[best]):.4g}. The "
            "posterior is improper: give every latent variable a proper prior."
        )
    return None


def _below_a_peak(log_joint: LogJoint, x: Tensor) -> bool:
    """Whether a Newton step from ``x`` (dim,) leads up to a maximum that is close."""
    gradient = log_joint.value_and_gradient(x.unsqueeze(0))[1]
    root, failed = torch.linalg.cholesky_ex(-log_joint.hessian(x.unsqueeze(0)))
    rise = torch.linalg.solve_triangular(root, gradient.unsqueeze(-1), upper=False)
    return not bool(failed) and float(0.5 * rise.square().sum()) < NEAR


def _weigh(log_joint: LogJoint, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log mass by Laplace (n,), l (n,) and |H| (n, dim, dim) at any points ``x`` (n, dim).

    The log mass is minus infinity where l or its Hessian is not finite.
    """
    hessian, value = -log_joint.hessian(x), log_joint(x)
    fine = hessian.isfinite().all(-1).all(-1) & value.isfinite()
    precision = moduli(torch.where(fine[:, None, None], hessian, torch.eye(x.shape[1]).to(x)))
    return torch.where(fine, laplace_mass(value, precision), -torch.inf), value, precision


@torch.no_grad()
def _heaviest(log_joint: LogJoint, x: Tensor, *, hits: int) -> Peaks:
    """Climb the Laplace mass from ``x`` (dim,): each round takes the best of some random steps."""
    for _ in range(STRAY_ROUNDS):
        _, _, precision = _weigh(log_joint, x.unsqueeze(0))
        noise = randn(STRAY_STEPS, len(x), 1).to(x) * rand(STRAY_STEPS, 1, 1).to(x)
        step = torch.linalg.solve_triangular(torch.linalg.cholesky(precision).mT, noise, upper=True)
        points = torch.cat([x.unsqueeze(0), x + step.squeeze(-1)])
        mass, value, precision = _weigh(log_joint, points)
        best = mass.argmax().reshape(1)
        x = points[best].squeeze(0)
    count, proper = torch.full_like(best, hits), torch.zeros_like(best).bool()
    return Peaks(points[best], value[best], precision[best], count, proper)


def _join(one: Peaks | None, two: Peaks | None) -> Peaks | None:
    """The union of two sets of peaks, without duplicates; None if both are None."""
    return one or two if one is None or two is None else _merge(one.join(two))


def _merge(peaks: Peaks) -> Peaks:
    """The peaks, heaviest first, without duplicates, whose hits are added to the peak kept."""
    peaks = peaks.select(peaks.log_mass.argsort(descending=True, stable=True))
    apart = peaks.distance(peaks.x)
    near = (torch.maximum(apart, apart.mT) < SAME_PEAK).cpu()  # each lies within the other
    hits, kept = peaks.hits.clone(), list[int]()
    for i in range(len(peaks)):
        twins = [k for k in kept if near[i, k]]
        if twins:
            hits[twins[0]] += hits[i]
        else:
            kept.append(i)
    return replace(peaks, hits=hits).select(torch.tensor(kept))


def _heavy(peaks: Peaks) -> Peaks:
    """The peaks without those of negligible mass, and those that are no maxima."""
    share = peaks.log_mass - peaks.real.log_mass.logsumexp(0)
    return peaks.select((share > NEGLIGIBLE) | ~peaks.proper)
