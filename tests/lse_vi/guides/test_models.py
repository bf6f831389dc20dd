"""The rows of docs/models.md: each kind of model beside its exact evidence, in both precisions.

One model of each kind, fitted and drawn from at three seeds in double and in single precision. The
evidence is known in closed form, by enumeration of all labels, or by the trapezoidal rule, whose
error falls faster than any power of the spacing where a density vanishes at both ends.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

QUICK = ("mixture as a latent", "half flat", "factor fails", "subsampled", "in a plate")
DRAWN = ("annotators", "seam", "hard edge")  # whose fits take long, and add nothing


class Case(NamedTuple):
    """A model with its data, its log evidence, and the shares of its modes where known."""

    model: Callable
    args: tuple
    log_evidence: Callable[[], float]
    weights: tuple[float, ...] = ()


def data(*values):
    return torch.tensor(values, dtype=torch.float64)


def trapezoid(log_p, *axes):
    """log of the integral of exp(log_p(*grid)) over equally spaced points on each axis."""
    steps = sum(math.log(float(axis[1] - axis[0])) for axis in axes)
    grid = torch.meshgrid(*axes, indexing="ij")
    return float(log_p(*grid).flatten().logsumexp(0)) + steps


def line(low, high, n):
    return torch.linspace(low, high, n, dtype=torch.float64)


# -- discrete sites -------------------------------------------------------------------------------


def labels(k):
    """A mixture of k normal laws at unknown places: by symmetry k! modes of one mass."""
    y = torch.cat([data(-0.2, 0.1, 0.3) + 4.0 * (i - 0.5 * (k - 1)) for i in range(k)])

    def model(y):
        with pyro.plate("parts", k):
            loc = pyro.sample("loc", dist.Normal(torch.zeros(()), 3.0))
        with pyro.plate("data", len(y)):
            label = pyro.sample("label", dist.Categorical(torch.full((k,), 1 / k)))
            pyro.sample("y", dist.Normal(loc[label], 0.5), obs=y)

    def log_p(*loc):
        each = torch.stack([dist.Normal(t.unsqueeze(-1), 0.5).log_prob(y) for t in loc])
        prior = sum(dist.Normal(0.0, 3.0).log_prob(t) for t in loc)
        return (each.logsumexp(0) - math.log(k)).sum(-1) + prior

    def exact():
        return trapezoid(log_p, *[line(-7.0, 7.0, 71)] * k)

    many = math.factorial(k)
    return Case(model, (y,), exact, (1 / many,) * many)


def chain():
    """A hidden Markov model: transitions and the places of two states, in order, are unknown."""
    y = data(-1.8, -2.3, 1.9, 2.2, 1.7, -2.1, -1.6, 2.4, 1.6, 2.3)

    def model(y):
        rows = pyro.sample("rows", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
        low = pyro.sample("low", dist.Normal(0.0, 3.0))
        above = constraints.greater_than(low)
        high = pyro.sample("high", dist.ImproperUniform(above, (), ()))
        pyro.factor("prior of high", dist.Normal(0.0, 3.0).log_prob(high))
        loc, state = torch.stack([low, high]), None
        for t in pyro.markov(range(len(y))):
            p = torch.full((2,), 0.5) if state is None else rows[state]
            state = pyro.sample(f"state{t}", dist.Categorical(p))
            pyro.sample(f"y{t}", dist.Normal(loc[state], 1.0), obs=y[t])

    def log_p(z, w, low, gap):
        soft = torch.nn.functional.logsigmoid
        (a, b), (c, d) = (soft(z), soft(-z)), (soft(w), soft(-w))  # logs of the rows
        high, zero, one = low + gap, torch.zeros_like(low), torch.zeros_like(low)
        for t, seen in enumerate(y):
            if t:
                zero, one = torch.logaddexp(zero + a, one + c), torch.logaddexp(zero + b, one + d)
            at_low, at_high = (dist.Normal(loc, 1.0).log_prob(seen) for loc in (low, high))
            zero, one = zero + at_low, one + at_high
        zero, one = zero - math.log(2), one - math.log(2)
        prior = sum(dist.Normal(0.0, 3.0).log_prob(t) for t in (low, high))
        return torch.logaddexp(zero, one) + prior + a + b + c + d

    def exact():
        return trapezoid(log_p, *[line(-14, 14, 32)] * 2, line(-7, 5, 40), line(0, 11, 56))

    return Case(model, (y,), exact)


def annotators():
    """Dawid and Skene with five annotators: given the truth of all items, beta functions."""
    by_annotator = ("101010", "101100", "001010", "111010", "100011")
    seen = torch.tensor([[int(c) for c in row] for row in by_annotator]).T

    def model(seen):
        share = pyro.sample("share", dist.Beta(2.0, 2.0))
        with pyro.plate("annotators", 5):
            right = pyro.sample("right", dist.Beta(5.0, 2.0).expand([2]).to_event(1))
        with pyro.plate("items", 6, dim=-2):
            truth = pyro.sample("truth", dist.Bernoulli(share)).long()
            with pyro.plate("again", 5, dim=-1):
                chosen = right[torch.arange(5), truth]
                says_one = torch.where(truth == 1, chosen, 1 - chosen)
                pyro.sample("label", dist.Bernoulli(says_one), obs=seen.to(says_one))

    def log_beta(a, b):
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    def exact():
        truths = torch.tensor(list(itertools.product([0, 1], repeat=6)), dtype=torch.float64)
        ones = truths.sum(1)
        log_p = log_beta(2 + ones, 8 - ones) - log_beta(data(2.0), data(2.0))
        for is_one, said in ((truths, seen), (1 - truths, 1 - seen)):
            hits = is_one @ said.double()  # (truths, annotators)
            misses = is_one.sum(1, keepdim=True) - hits
            log_p = log_p + (log_beta(5 + hits, 2 + misses) - log_beta(data(5.0), data(2.0))).sum(1)
        return float(log_p.logsumexp(0))

    return Case(model, (seen,), exact)


def two_plates():
    """A label for each cell of a table."""
    y = data(-2.2, 2.1, 1.7, -1.9, 2.4, 1.8).reshape(2, 3)

    def model(y):
        loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 2.0).to_event(1))
        with pyro.plate("rows", 2, dim=-2), pyro.plate("columns", 3, dim=-1):
            label = pyro.sample("label", dist.Bernoulli(0.3)).long()
            pyro.sample("y", dist.Normal(loc[label], 1.0), obs=y)

    def log_p(one, two):
        zero, other = (dist.Normal(t[..., None, None], 1.0).log_prob(y) for t in (one, two))
        both = torch.logaddexp(zero + math.log(0.7), other + math.log(0.3))
        prior = sum(dist.Normal(0.0, 2.0).log_prob(t) for t in (one, two))
        return both.sum((-2, -1)) + prior

    return Case(model, (y,), lambda: trapezoid(log_p, *[line(-10, 10, 300)] * 2))


# -- supports -------------------------------------------------------------------------------------


def moving():
    """The support of b ends at 1 - a."""
    y = data(0.3)[0]

    def model(y):
        a = pyro.sample("a", dist.Uniform(0.0, 1.0))
        b = pyro.sample("b", dist.Uniform(0.0, 1 - a))
        pyro.sample("y", dist.Normal(a * b, 0.05), obs=y)

    def log_p(z, w):
        a, share = z.sigmoid(), w.sigmoid()
        jacobian = sum(torch.nn.functional.logsigmoid(s * t) for t in (z, w) for s in (1, -1))
        return dist.Normal(a * (1 - a) * share, 0.05).log_prob(y) + jacobian

    return Case(model, (y,), lambda: trapezoid(log_p, *[line(-30, 30, 1201)] * 2))


def volatility():
    """GARCH(1, 1) with flat priors; the support of beta ends at 1 - alpha."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        noise = torch.randn(60, dtype=torch.float64)
    rows, variance = [], torch.ones((), dtype=torch.float64)
    for e in noise:
        rows.append(0.5 + variance.sqrt() * e)
        variance = 0.4 + 0.4 * (rows[-1] - 0.5) ** 2 + 0.3 * variance
    y = torch.stack(rows)

    def log_likelihood(y, mu, base, alpha, beta):
        variance, total = torch.ones_like(mu), 0.0
        for now in y:
            square = (now - mu).square()
            total = total - 0.5 * (square / variance + variance.log())
            variance = base + alpha * square + beta * variance
        return total - 0.5 * len(y) * math.log(2 * math.pi)

    def model(y):
        mu = pyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
        base = pyro.sample("base", dist.ImproperUniform(constraints.positive, (), ()))
        alpha = pyro.sample("alpha", dist.Uniform(0.0, 1.0))
        rest = constraints.interval(0.0, 1 - alpha)
        beta = pyro.sample("beta", dist.ImproperUniform(rest, (), ()))
        pyro.factor("y", log_likelihood(y, mu, base, alpha, beta))

    def log_p(mu, log_base, z, w):
        alpha = z.sigmoid()
        beta = (1 - alpha) * w.sigmoid()
        jacobian = sum(torch.nn.functional.logsigmoid(s * t) for t in (z, w) for s in (1, -1))
        volume = log_base + jacobian + (1 - alpha).log()
        return log_likelihood(y, mu, log_base.exp(), alpha, beta) + volume

    def exact():
        return trapezoid(log_p, line(-1, 2, 40), line(-14, 4, 40), *[line(-14, 14, 36)] * 2)

    return Case(model, (y,), exact)


def seam():
    """An angle whose one mode is at pi."""
    y = data(math.pi)[0]

    def model(y):
        a = pyro.sample("a", dist.VonMises(0.0, 0.1))
        pyro.sample("y", dist.VonMises(a, 20.0), obs=y)

    def exact():
        t = line(-math.pi, math.pi, 4001)[:-1]
        joint = dist.VonMises(data(0.0), data(0.1)).log_prob(t)
        joint = joint + dist.VonMises(t, data(20.0)).log_prob(y)
        return float(joint.logsumexp(0)) + math.log(2 * math.pi / 4000)

    return Case(model, (y,), exact, (1.0,))


def mixture_latent():
    """A mixture as the prior of a latent: the evidence of each part, by its weight."""

    def model():
        parts = dist.Categorical(torch.tensor([0.3, 0.7]))
        two = dist.MixtureSameFamily(parts, dist.Normal(torch.tensor([-3.0, 3.0]), 1.0))
        x = pyro.sample("x", two)
        pyro.sample("y", dist.Normal(x, 2.0), obs=torch.tensor(0.0))

    exact = float(dist.Normal(3.0, math.sqrt(5.0)).log_prob(data(0.0)))
    return Case(model, (), lambda: exact, (0.7, 0.3))


def half_flat():
    """A flat prior for a level beside a normal one."""
    y = data(1.0, 2.0, 4.0)

    def model(y):
        a = pyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(a + b, 1.0), obs=y)

    exact = (
        -0.5 * float((y - y.mean()).square().sum()) - math.log(2 * math.pi) - 0.5 * math.log(3.0)
    )
    return Case(model, (y,), lambda: exact, (1.0,))


# -- how it is written ----------------------------------------------------------------------------


def factor_fails():
    """A Cholesky factor that exists only where a correlation is below one."""
    y = data(1.0, -0.5)

    def model(y):
        a = pyro.sample("a", dist.Normal(torch.zeros(()), 1.0))
        swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), torch.eye(2) + a * swap), obs=y)

    def log_p(z):
        a = torch.tanh(z)
        jacobian = torch.log1p(-a.square())
        quadratic = (y.square().sum() - 2 * a * y.prod()) / (1 - a**2)
        log_y = -0.5 * (quadratic + torch.log1p(-a.square())) - math.log(2 * math.pi)
        return log_y + dist.Normal(0.0, 1.0).log_prob(a) + jacobian

    return Case(model, (y,), lambda: trapezoid(log_p, line(-5, 5, 20_001)))


def subsampled():
    """A plate that would train on three of twelve data: the evidence is that of all."""
    y = line(-1.0, 2.0, 12)

    def model(y):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y), subsample_size=3):
            pyro.sample("y", dist.Normal(x, 1.0), obs=pyro.subsample(y, event_dim=0))

    covariance = torch.eye(12, dtype=torch.float64) + 1.0
    exact = float(dist.MultivariateNormal(torch.zeros_like(y), covariance).log_prob(y))
    return Case(model, (y,), lambda: exact, (1.0,))


def in_plate():
    """An assertion that vmap cannot answer: the model runs in an outermost plate."""
    y = data(0.4, 1.1, -0.2)

    def model(y):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        assert bool(x.isfinite().all())
        with pyro.plate("data", 3):
            pyro.sample("y", dist.Normal(x, 1.0), obs=y)

    covariance = torch.eye(3, dtype=torch.float64) + 1.0
    exact = float(dist.MultivariateNormal(torch.zeros_like(y), covariance).log_prob(y))
    return Case(model, (y,), lambda: exact, (1.0,))


def empty_batch():
    """A batch of no latents."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        none = pyro.sample("none", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
        pyro.sample("y", dist.Normal(x + none.sum(), 1.0), obs=torch.tensor(1.0))

    exact = float(dist.Normal(0.0, math.sqrt(2.0)).log_prob(data(1.0)))
    return Case(model, (), lambda: exact, (1.0,))


def hard_edge():
    """A factor of minus infinity below an edge."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("edge", torch.where(x > 0.5, 0.0, -math.inf))

    return Case(model, (), lambda: math.log(0.5 * math.erfc(0.5 / math.sqrt(2.0))))


CASES = {
    "two labels": lambda: labels(2),
    "three labels": lambda: labels(3),
    "chain": chain,
    "annotators": annotators,
    "two plates": two_plates,
    "moving support": moving,
    "volatility": volatility,
    "seam": seam,
    "mixture as a latent": mixture_latent,
    "half flat": half_flat,
    "factor fails": factor_fails,
    "subsampled": subsampled,
    "in a plate": in_plate,
    "empty batch": empty_batch,
    "hard edge": hard_edge,
}


@functools.cache
def known(name):
    """The case, and its exact log evidence."""
    case = CASES[name]()
    return case, case.log_evidence()


def every():
    """Each case at three seeds in both precisions; the quick ones once in ``make test``."""
    for name, kind, seed in itertools.product(CASES, ("float64", "float32"), range(3)):
        slow = [] if (kind, seed) == ("float64", 0) and name in QUICK else [pytest.mark.slow]
        yield pytest.param(name, kind, seed, marks=slow)


@pytest.mark.parametrize(("name", "kind", "seed"), list(every()))
def test_evidence_and_weights(name, kind, seed):
    case, exact = known(name)  # in double precision
    dtype = getattr(torch, kind)
    torch.set_default_dtype(dtype)  # a fixture sets it back
    args = [x.to(dtype) if x.is_floating_point() else x for x in case.args]
    guide, settings = AutoLSEICNN(case.model), {"seed": seed, "progress": False}
    if name not in DRAWN:
        fit = fit_guide(case.model, guide, *args, steps=300, **settings)
        assert abs(fit.log_evidence - exact) < max(4.5 * fit.log_evidence_error, 0.01)
        assert fit.log_evidence_error < 0.05
        if case.weights:
            assert fit.mode_weights.tolist() == pytest.approx(case.weights, abs=0.03)
    draws = sample_smc(case.model, guide, *args, draws=2000, **settings)
    assert abs(draws.log_evidence - exact) < max(4.5 * draws.log_evidence_error, 0.01)
    assert draws.log_evidence_error < 0.05
    if case.weights:
        for got, w in zip(draws.mode_weights.tolist(), case.weights, strict=True):
            assert abs(got - w) < 4.5 * math.sqrt(w * (1 - w) / draws.ess) + 1e-6
