"""Targets of the guide benchmark, as Pyro models, with what is exactly known of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

Model = Callable[..., None]
Sampler = Callable[[int], Tensor]


@dataclass(frozen=True)
class Target:
    """A Pyro model with what is known of its posterior, in unconstrained coordinates.

    Attributes:
        name: as in the tables.
        model: a Pyro model, called with ``args``.
        args: data and other arguments.
        log_evidence: exact log Z; None if unknown.
        weights: exact mass of each mode, (modes,); None if unknown.
        locations: a point in each mode, (modes, dim), in the order of ``weights``.
        sample: exact draws, (n, dim).
        parts: log density of each mode, with its weight, at points (n, dim): (n, modes).
    """

    name: str
    model: Model
    args: tuple[Tensor, ...] = ()
    log_evidence: float | None = None
    weights: Tensor | None = None
    locations: Tensor | None = None
    sample: Sampler | None = None
    parts: Callable[[Tensor], Tensor] | None = None


def by_factor(log_density: Callable[[Tensor], Tensor], dim: int) -> Callable[[], None]:
    """A model whose posterior is a given density: the prior is masked, the factor is all."""

    def model() -> None:
        x = pyro.sample("x", dist.Normal(torch.zeros(dim), 5.0).to_event(1).mask(False))
        pyro.factor("target", log_density(x))

    return model


def gaussians(name: str, means: Tensor, scales: Tensor, weights: Tensor) -> Target:
    """A mixture of Gaussians with diagonal covariances; ``means``, ``scales`` (modes, dim)."""
    constant = weights.log() - scales.log().sum(-1) - 0.5 * means.shape[1] * math.log(2 * math.pi)

    def parts(x: Tensor) -> Tensor:
        u = (x.unsqueeze(-2) - means) / scales
        return constant - 0.5 * u.square().sum(-1)

    def sample(n: int) -> Tensor:
        k = torch.multinomial(weights, n, replacement=True)
        return means[k] + scales[k] * torch.randn(n, means.shape[1]).to(means)

    model = by_factor(lambda x: parts(x).logsumexp(-1), means.shape[1])
    return Target(name, model, (), 0.0, weights, means, sample, parts)


def forty_gaussians() -> Target:
    """40 Gaussians in 2-D (Midgley et al. 2023): the standard test of mode coverage."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        means = (torch.rand(40, 2, dtype=torch.float32) - 0.5) * 80
    means = means.to(torch.get_default_dtype())
    scales = torch.full_like(means, 1.3133)
    return gaussians("40 Gaussians, 2-D", means, scales, torch.full((40,), 1 / 40).to(means))


def six_gaussians(dim: int = 30) -> Target:
    """6 Gaussians in 30-D, apart by many deviations, of unequal weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        means = (torch.rand(6, dim) - 0.5) * 12
        scales = 0.4 + 0.8 * torch.rand(6, dim)
        weights = torch.softmax(0.5 * torch.randn(6), 0)
    return gaussians(f"6 Gaussians, {dim}-D", means, scales, weights)


def six_bananas(dim: int = 10, bend: float = 0.15) -> Target:
    """6 Gaussians bent by x1 += bend x0^2 about their centres: not Gaussian, not convex."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        means = (torch.rand(6, dim) - 0.5) * 12
        scales = 0.4 + 0.8 * torch.rand(6, dim)
        weights = torch.softmax(0.5 * torch.randn(6), 0)
    constant = weights.log() - scales.log().sum(-1) - 0.5 * dim * math.log(2 * math.pi)

    def parts(x: Tensor) -> Tensor:
        z = x.unsqueeze(-2) - means
        unbent = z[..., 1] - bend * z[..., 0] ** 2
        z = torch.cat([z[..., :1], unbent.unsqueeze(-1), z[..., 2:]], dim=-1)
        return constant - 0.5 * (z / scales).square().sum(-1)

    def sample(n: int) -> Tensor:
        k = torch.multinomial(weights, n, replacement=True)
        z = scales[k] * torch.randn(n, dim).to(means)
        z[:, 1] += bend * z[:, 0] ** 2
        return means[k] + z

    model = by_factor(lambda x: parts(x).logsumexp(-1), dim)
    return Target(f"6 bananas, {dim}-D", model, (), 0.0, weights, means, sample, parts)


def label_switching() -> Target:
    """A two-component normal mixture without ordering, 500 data: two equal labellings."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        which = (torch.rand(500) < 0.4).to(torch.get_default_dtype())
        y = torch.where(which > 0, -1.5 + 0.8 * torch.randn(500), 1.5 + 1.2 * torch.randn(500))

    def model(y: Tensor) -> None:
        share = pyro.sample("share", dist.Beta(torch.tensor(2.0).to(y), torch.tensor(2.0).to(y)))
        zero, one = torch.zeros(2).to(y), torch.ones(2).to(y)
        mean = pyro.sample("mean", dist.Normal(zero, 3.0 * one).to_event(1))
        scale = pyro.sample("scale", dist.LogNormal(zero, 0.5 * one).to_event(1))
        log_share = torch.stack([share, 1 - share], -1).log()
        with pyro.plate("data", len(y)):
            each = dist.Normal(mean, scale).log_prob(y.unsqueeze(-1))
            pyro.factor("y", torch.logsumexp(log_share + each, -1))

    # Near the truth, in the order of the sites: logit share, means, log scales.
    near = torch.tensor([[-0.4, -1.5, 1.5, -0.2, 0.2], [0.4, 1.5, -1.5, 0.2, -0.2]])
    half = torch.full((2,), 0.5)
    return Target("label switching", model, (y,), weights=half, locations=near)


EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)


def eight_schools(centred: bool) -> Target:
    """Rubin's (1981) eight schools; centred, its posterior is a funnel."""
    y, sigma = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model(y: Tensor) -> None:
        one = torch.ones(()).to(y)
        mu = pyro.sample("mu", dist.Normal(0 * one, 5 * one))
        tau = pyro.sample("tau", dist.HalfCauchy(5 * one))
        with pyro.plate("schools", 8):
            if centred:
                theta = pyro.sample("theta", dist.Normal(mu, tau))
            else:
                theta = mu + tau * pyro.sample("eta", dist.Normal(0 * one, one))
            pyro.sample("y", dist.Normal(theta, sigma), obs=y)

    return Target(f"eight schools, {'centred' if centred else 'non-centred'}", model, (y,))


def logistic_regression() -> Target:
    """200 binary outcomes, intercept and 5 slopes with normal priors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(200, 5)
        y = torch.bernoulli(torch.sigmoid(x @ torch.tensor([1.5, -1.0, 0.5, 0.0, 2.0]) - 0.5))

    def model(x: Tensor, y: Tensor) -> None:
        zero = torch.zeros(5).to(x)
        slope = pyro.sample("slope", dist.Normal(zero, zero + 2.5).to_event(1))
        intercept = pyro.sample("intercept", dist.Normal(zero[0], zero[0] + 5.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Bernoulli(logits=intercept + (x * slope).sum(-1)), obs=y)

    return Target("logistic regression", model, (x, y))


def dirichlet() -> Target:
    """Counts of four categories, few of them: a skewed posterior; its evidence is exact."""
    counts, prior = torch.tensor([5.0, 2.0, 0.0, 9.0]), torch.full((4,), 0.5)

    def model(counts: Tensor) -> None:
        p = pyro.sample("p", dist.Dirichlet(torch.full((4,), 0.5).to(counts)))
        pyro.factor("counts", (counts * p.log()).sum(-1))

    def log_beta(a: Tensor) -> Tensor:
        return torch.lgamma(a).sum() - torch.lgamma(a.sum())

    exact = float(log_beta(prior + counts) - log_beta(prior))
    return Target("Dirichlet", model, (counts,), log_evidence=exact)


def correlations() -> Target:
    """40 draws of a 4-D normal, scales and an LKJ prior on the correlations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixing = torch.eye(4) + 0.4 * torch.randn(4, 4)
        y = torch.randn(40, 4) @ mixing

    def model(y: Tensor) -> None:
        one = torch.ones(4).to(y)
        scale = pyro.sample("scale", dist.HalfNormal(2 * one).to_event(1))
        root = pyro.sample("root", dist.LKJCholesky(4, one[0]))
        with pyro.plate("data", len(y)):
            factor = scale.unsqueeze(-1) * root
            pyro.sample("y", dist.MultivariateNormal(0 * one, scale_tril=factor), obs=y)

    return Target("LKJ correlations", model, (y,))


def multimodal() -> list[Target]:
    """The targets with several modes."""
    return [forty_gaussians(), six_bananas(), six_gaussians(), label_switching()]


def posteriors() -> list[Target]:
    """Everyday posteriors with one mode."""
    return [
        eight_schools(centred=True),
        eight_schools(centred=False),
        logistic_regression(),
        dirichlet(),
        correlations(),
    ]
