"""Targets of the evidence benchmark, in double precision: torch's default must be float64."""

from __future__ import annotations

import math

import pyro
import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Cauchy,
    HalfCauchy,
    HalfNormal,
    LogNormal,
    Normal,
    StudentT,
)

from benchmarks import targets
from benchmarks.evidence_problem import (
    Problem,
    bands,
    midpoints,
    normal,
    number,
    on_grid,
    uniform,
)
from benchmarks.targets import EFFECTS, ERRORS, gaussians


def mixture(
    name: str, means: Tensor, scales: Tensor, weights: Tensor, prior_scale: float
) -> Problem:
    """A likelihood of Gaussians, (modes, dim) each, under N(0, prior_scale): all in closed form."""
    parts = gaussians(name, means, scales, weights).parts
    assert parts is not None
    variance = scales**2 + prior_scale**2
    log_mass = weights.log() + Normal(0.0, variance.sqrt()).log_prob(means).sum(-1)
    share = torch.softmax(log_mass, 0)
    loc, sd = means * prior_scale**2 / variance, scales * prior_scale / variance.sqrt()

    posterior = gaussians(name, loc, sd, share)
    assert posterior.parts is not None
    of_posterior = posterior.parts
    law = normal(0, prior_scale)
    log_z = float(log_mass.logsumexp(0))
    return Problem(
        name, (law,) * means.shape[1], lambda x: parts(x).logsumexp(-1), log_z, share,
        lambda x: of_posterior(x).argmax(-1), posterior.sample,
    )  # fmt: skip


def forty_gaussians() -> Problem:
    """40 Gaussians in 2-D (Midgley et al. 2023)."""
    means = targets.forty_gaussians().locations
    assert means is not None
    scales = torch.full_like(means, 1.3133)
    even = torch.full((40,), 1 / 40).double()
    return mixture("40 Gaussians, 2-D", means, scales, even, 100.0)


def six_gaussians() -> Problem:
    """Six Gaussians in 30-D, of weights from 0.4 to 0.01 and deviations from 0.3 to 3."""
    torch.manual_seed(0)
    means = 12 * (torch.rand(6, 30).double() - 0.5)
    scales = 0.3 * 10 ** torch.rand(6, 30).double()
    weights = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.09, 0.01]).double()
    # so wide a prior hardly moves the weights
    return mixture("6 Gaussians, 30-D", means, scales, weights, 30.0)


def spike(dim: int) -> Problem:
    """A spike with 40 % of the likelihood's mass on a broad part, which has no peak of its own."""
    means = torch.stack([torch.full((dim,), 0.3), torch.zeros(dim)]).double()
    scales = torch.stack([torch.ones(dim), torch.full((dim,), 0.1)]).double()
    return mixture(f"spike, {dim}-D", means, scales, torch.tensor([0.6, 0.4]).double(), 3.0)


def bananas(dim: int = 10, bend: float = 0.15, half: float = 25.0) -> Problem:
    """Six Gaussians bent by x1 += bend x0^2 about their centres, in a wide box."""
    target = targets.six_bananas(dim, bend)
    parts = target.parts
    assert parts is not None
    return Problem(
        target.name,
        (uniform(-half, half),) * dim,
        lambda x: parts(x).logsumexp(-1),
        -dim * math.log(2 * half),  # outside the box is less than 1e-9 of the mass
        target.weights,
        lambda x: parts(x).argmax(-1),
        target.sample,
    )


def egg_box(n: int = 2000) -> Problem:
    """log L = (2 + cos(x/2) cos(y/2))^5 on [0, 10 pi]^2 (Feroz & Hobson 2008): 18 peaks."""
    side = 10 * math.pi

    def log_likelihood(x: Tensor) -> Tensor:
        return (2 + torch.cos(x[..., 0] / 2) * torch.cos(x[..., 1] / 2)) ** 5

    axis = midpoints(0, side, n)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    log_p = log_likelihood(grid)
    log_z, sample = on_grid(log_p, (axis, axis))
    # Peaks are where both cosines are 1 or both -1: at 2 pi (i, j) with i + j even.
    peaks = torch.tensor([[i, j] for i in range(6) for j in range(6) if (i + j) % 2 == 0])
    places = 2 * math.pi * peaks.double()

    def mode_of(x: Tensor) -> Tensor:
        return torch.cdist(x, places).argmin(-1)

    mass = torch.softmax(log_p.flatten(), 0)
    weights = torch.bincount(mode_of(grid.reshape(-1, 2)), mass, len(places))
    return Problem(
        "egg box, 2-D", (uniform(0, side),) * 2, log_likelihood,
        log_z - 2 * math.log(side), weights, mode_of, sample,
    )  # fmt: skip


def labels() -> Problem:
    """A mixture of two normals without an order, 500 data: two equal labellings."""
    (y,) = targets.label_switching().args

    def log_likelihood(x: Tensor) -> Tensor:
        share, mean, scale = x[..., :1], x[..., 1:3], x[..., 3:5]
        log_share = torch.cat([share, 1 - share], -1).log()
        each = Normal(mean.unsqueeze(-2), scale.unsqueeze(-2)).log_prob(y.unsqueeze(-1))
        return torch.logsumexp(log_share.unsqueeze(-2) + each, -1).sum(-1)

    spread, scale = normal(0, 3), LogNormal(number(0), number(0.5))
    prior = (Beta(number(2), number(2)), spread, spread, scale, scale)
    return Problem(
        "labels, 5-D", prior, log_likelihood, LABELS_LOG_EVIDENCE,
        torch.tensor([0.5, 0.5]).double(), lambda x: (x[..., 1] > x[..., 2]).long(),
    )  # fmt: skip


# By importance sampling from a Student's t with the moments of one labelling, of a million draws:
# the standard error is 7e-4 nats.
LABELS_LOG_EVIDENCE = -979.1814


def sinusoid(n: int = 40) -> Problem:
    """A sinusoid with unknown period, 40 data at random times: peaks in the period.

    y = a cos(2 pi t / P) + b sin(2 pi t / P) + c + s e. Given P and s, the rest is linear, so the
    evidence is an integral over these two.
    """
    torch.manual_seed(4)
    t = 10 * torch.rand(n).double()
    y = 0.45 * torch.cos(2 * math.pi * t / 1.3) + 0.4 + 0.8 * torch.randn(n).double()
    low, high, amplitude = 0.5, 5.0, 1.0

    def design(period: Tensor) -> Tensor:
        phase = 2 * math.pi * t / period.unsqueeze(-1)
        return torch.stack([phase.cos(), phase.sin(), torch.ones_like(phase)], -1)

    def log_likelihood(x: Tensor) -> Tensor:
        fit = (design(x[..., 0]) @ x[..., 1:4].unsqueeze(-1)).squeeze(-1)
        return Normal(fit, x[..., 4:5]).log_prob(y).sum(-1)

    noise = HalfNormal(number(1))
    prior = (uniform(low, high), *(normal(0, amplitude),) * 3, noise)
    # N(y; 0, s^2 + A^2 B B^T) by the eigenvalues of B^T B: over many periods at once, each scale.
    axis, scales = midpoints(low, high, 20_000), midpoints(0.2, 3.0, 300)
    basis = design(axis)
    value, vector = torch.linalg.eigh(amplitude**2 * basis.mT @ basis)
    along = amplitude * (vector.mT @ basis.mT @ y.unsqueeze(-1)).squeeze(-1)  # (periods, 3)
    s2 = scales.square()[:, None, None]
    log_det = (1 + value / s2).log().sum(-1) + n * s2.squeeze(-1).log()
    square = (y @ y) / s2.squeeze(-1) - (along.square() / (s2 + value)).sum(-1) / s2.squeeze(-1)
    log_p = -0.5 * (log_det + square + n * math.log(2 * math.pi))
    log_p = log_p + noise.log_prob(scales)[:, None] - math.log(high - low)
    log_z, _ = on_grid(log_p, (scales, axis))
    # Bands: between minima of the marginal of the period that are deeper than a hundredth.
    marginal = torch.softmax(log_p.logsumexp(0), 0)
    edges, weights = bands(axis, marginal)
    return Problem(
        "sinusoid, 5-D", prior, log_likelihood, log_z, weights,
        lambda x: torch.bucketize(x[..., 0].contiguous(), edges),
    )  # fmt: skip


def eight_schools(centred: bool) -> Problem:
    """Rubin's (1981) eight schools; centred, the posterior is a funnel."""
    y, sd = torch.tensor(EFFECTS).double(), torch.tensor(ERRORS).double()
    mean, spread, unit = normal(0, 5), HalfCauchy(number(5)), normal(0, 1)

    def log_likelihood(x: Tensor) -> Tensor:
        mu, tau, eta = x[..., :1], x[..., 1:2], x[..., 2:]
        return Normal(mu + tau * eta, sd).log_prob(y).sum(-1)

    # The effects are integrated out by hand, mu and log tau on a grid.
    mu, log_tau = midpoints(-40, 40, 1000), midpoints(-14, 10, 1200)[:, None]
    scale = (sd**2 + (2 * log_tau.unsqueeze(-1)).exp()).sqrt()
    log_p = Normal(mu.unsqueeze(-1), scale).log_prob(y).sum(-1)
    log_p = log_p + mean.log_prob(mu) + spread.log_prob(log_tau.exp()) + log_tau
    log_z, _ = on_grid(log_p, (log_tau.squeeze(1), mu))
    name = "eight schools" + (", centred" if centred else "")
    if not centred:
        return Problem(name, (mean, spread, *(unit,) * 8), log_likelihood, log_z)
    return Centred(name, (mean, spread, *(unit,) * 8), log_likelihood, log_z)


class Centred(Problem):
    """The schools with their effects as sites: another geometry of the same posterior."""

    def model(self) -> None:
        mu = pyro.sample("mu", pyro.distributions.Normal(number(0), number(5)))
        tau = pyro.sample("tau", pyro.distributions.HalfCauchy(number(5)))
        with pyro.plate("school", 8):
            theta = pyro.sample("theta", pyro.distributions.Normal(mu, tau))
        rows = torch.broadcast_tensors(mu.unsqueeze(-1), tau.unsqueeze(-1))
        eta = (theta - rows[0]) / rows[1]
        pyro.factor("likelihood", self.log_likelihood(torch.cat([*rows, eta], -1)))


def cauchy() -> Problem:
    """Location and scale of Cauchy data in two groups, under wide priors: heavy tails."""
    y = torch.tensor([-6.0, -5.2, 4.5, 5.0, 5.4]).double()
    place, width = Cauchy(number(0), number(5)), HalfCauchy(number(1))

    def log_likelihood(x: Tensor) -> Tensor:
        return Cauchy(x[..., :1], x[..., 1:2]).log_prob(y).sum(-1)

    # x = sinh(u): a grid that reaches far into the tails
    u, v = midpoints(-12, 12, 3000), midpoints(-12, 10, 1500)
    at = torch.stack(torch.meshgrid(u.sinh(), v.exp(), indexing="ij"), -1)
    log_p = log_likelihood(at) + place.log_prob(at[..., 0]) + width.log_prob(at[..., 1])
    log_z, drawn = on_grid(log_p + u.cosh().log()[:, None] + v, (u, v))

    def sample(n: int) -> Tensor:
        cell = drawn(n)
        return torch.stack([cell[:, 0].sinh(), cell[:, 1].exp()], -1)

    return Problem(
        "Cauchy data, 2-D", (place, width), log_likelihood, log_z, sample=sample, heavy=True
    )


def student(dim: int = 5) -> Problem:
    """Each coordinate Student's t with 2 degrees a priori, seen with Student's noise."""
    y = torch.tensor([-8.0, -1.0, 0.0, 3.0, 12.0]).double()
    law, noise = StudentT(number(2)), StudentT(number(3))

    def log_likelihood(x: Tensor) -> Tensor:
        return noise.log_prob(y - x).sum(-1)

    u = midpoints(-14, 14, 40_000)
    each = [on_grid(law.log_prob(u.sinh()) + noise.log_prob(one - u.sinh()) + u.cosh().log(), (u,))
            for one in y]  # fmt: skip
    log_z = sum(part for part, _ in each)

    def sample(n: int) -> Tensor:
        return torch.cat([draw(n) for _, draw in each], -1).sinh()

    return Problem(
        f"Student, {dim}-D", (law,) * dim, log_likelihood, log_z, sample=sample, heavy=True
    )


def problems() -> list[Problem]:
    """All, from few to many dimensions."""
    with torch.random.fork_rng():
        return [
            forty_gaussians(),
            egg_box(),
            cauchy(),
            spike(3),
            spike(6),
            labels(),
            sinusoid(),
            student(),
            bananas(),
            eight_schools(centred=False),
            eight_schools(centred=True),
            six_gaussians(),
        ]
