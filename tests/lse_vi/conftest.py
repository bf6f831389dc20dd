"""Random potentials, potentials whose masses are known, an integral, and a model for guides."""

import functools
import math
from typing import NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import cumulative_simpson, simpson
from torch import Tensor

from lse_vi import ICNN, LSEICNN, AutoLSEICNN, WhitenedICNN, fit_guide


def _random_potential(
    seed,
    dim,
    modes=3,
    *,
    network=ICNN,
    hidden=(8, 8),
    batch_shape=(),
    rho=2.0,
    spread=0.5,
    dtype=None,
):
    """Centres, slopes, frames and gates all apart: no symmetry of the initial state is left."""
    torch.manual_seed(seed)
    pot = LSEICNN(
        dim, modes, hidden=hidden, batch_shape=batch_shape, rho=rho, network=network, dtype=dtype
    )
    with torch.no_grad():
        for p in pot.network.parameters():
            p.add_(spread * torch.randn_like(p))
        pot.alpha.normal_(2.0, 0.2)  # logits of the gates: standard deviation one
    return pot


@pytest.fixture(scope="session")
def random_potential():
    return _random_potential


def _reorder(pot, order):
    """The potential whose mode k is mode ``order[k]`` of ``pot``."""
    axis = len(pot.batch_shape)
    tensors = {
        name: p.index_select(axis, torch.as_tensor(order))
        for name, p in pot.named_parameters()
        if name != "log_rho"
    }
    return pot.with_parameters(tensors)


@pytest.fixture(scope="session")
def reorder():
    return _reorder


class Separable(NamedTuple):
    """exp(-E) = sum_k s_k/K exp(-f_k) with f_k a sum over the coordinates of u = L_k (x - m_k)."""

    potential: LSEICNN
    masses: Tensor  # (*batch, modes), s_k Z_k / K
    ticks: np.ndarray  # (n,)
    cdf: np.ndarray  # (*batch, modes, dim, n), of each u_i under mode k, at the ticks

    @property
    def log_normalizer(self) -> Tensor:
        return self.masses.sum(-1).log()


def _separable(seed, dim, modes=3, *, batch_shape=(), condition=None):
    """One hidden layer whose every unit reads one coordinate: Z_k is a product of 1-D integrals.

    L_k is a full lower triangle; ``condition`` spreads its diagonal over that ratio.
    """
    pot = _random_potential(
        seed, dim, modes, network=WhitenedICNN, hidden=(2 * dim,), batch_shape=batch_shape, rho=1.0
    )
    net = pot.network
    with torch.no_grad():
        unit = torch.eye(dim).repeat(2, 1)  # hidden unit j reads coordinate j mod dim
        net.icnn.weight[..., :-1, :] = unit * torch.randn(*batch_shape, modes, 2 * dim, 1) * 2.0
        net.icnn.weight[..., -1, :].normal_(0.0, 0.3)
        net.icnn.raw_inner[0].normal_(dim, 1.0)  # W is softplus(raw) / (2 dim)
        if condition:
            net.log_diagonal += torch.linspace(0.0, math.log(condition), dim)
        net.loc.mul_(2.0)

        ticks = np.linspace(-14.0, 14.0, 4001)
        t = torch.as_tensor(ticks)
        slope = net.icnn.weight[..., :-1, :].sum(-1, keepdim=True)
        (inner,) = net.icnn.inner()
        units = inner.mT * torch.logaddexp(
            torch.zeros(()), slope * t + net.icnn.bias[..., :-1, None]
        )
        units = units.reshape(*batch_shape, modes, 2, dim, -1).sum(-3)
        phi = t**2 / 2 + net.icnn.weight[..., -1, :, None] * t + units  # (*batch, modes, dim, n)
        law = (-phi).exp().numpy()
        each = torch.as_tensor(simpson(law, x=ticks)).log().sum(-1)
        log_det = net.log_diagonal.sum(-1)
        constant = net.icnn.bias[..., -1]
        masses = (pot.log_gates - math.log(modes) + each - constant - log_det).exp()
    cdf = cumulative_simpson(law, x=ticks, initial=0)
    return Separable(pot, masses, ticks, cdf / cdf[..., -1:])


@pytest.fixture(scope="session")
def separable():
    return _separable


def _simpson_grid(low, high, intervals):
    """Points (n, dim) and weights (n,) of Simpson's rule on a box: `low`, `high` (dim,)."""
    low, high = torch.atleast_1d(torch.as_tensor(low)), torch.atleast_1d(torch.as_tensor(high))
    ticks = torch.linspace(0.0, 1.0, intervals + 1)
    weight = torch.full_like(ticks, 2.0)
    weight[1::2], weight[0], weight[-1] = 4.0, 1.0, 1.0
    dim = len(low)
    grid = torch.cartesian_prod(*[ticks] * dim).reshape(-1, dim)
    weights = torch.cartesian_prod(*[weight / (3 * intervals)] * dim).reshape(-1, dim).prod(-1)
    return low + grid * (high - low), weights * (high - low).prod()


@pytest.fixture(scope="session")
def simpson_grid():
    return _simpson_grid


def _window(q):
    """The box of a density (low, high), or ten deviations around the frames of all its modes."""
    if q.box is not None:
        return q.box
    net = q.potential.network
    loc = net.loc.detach()
    reach = 10 * net.precision_factor().detach().inverse().norm(dim=-1)
    dim = loc.shape[-1]
    return (loc - reach).reshape(-1, dim).amin(0), (loc + reach).reshape(-1, dim).amax(0)


@pytest.fixture(scope="session")
def window():
    return _window


NINE = torch.tensor(9.0, dtype=torch.float64)


def _square(y):
    """x^2 is seen with noise: two modes near +-3, of weights 3/4 and 1/4 as in the prior."""
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.factor("half", torch.where(x > 0, math.log(1.5), math.log(0.5)))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


class Truth(NamedTuple):
    """Of the posterior of `square`: log p(y = 9) and E[x^2 | y]."""

    log_evidence: float
    mean_square: float


@functools.cache  # a fixture of the session would start before the one that sets float64
def _truth():
    """By the trapezoidal rule."""
    x = torch.linspace(-12.0, 12.0, 200_001)
    joint = dist.Normal(0.0, 3.0).log_prob(x) + dist.Normal(x**2, 1.0).log_prob(NINE)
    joint = joint + torch.where(x > 0, math.log(1.5), math.log(0.5))
    log_z = torch.logsumexp(joint, 0)
    mean_square = float(((joint - log_z).exp() * x**2).sum())
    return Truth(float(log_z + math.log(24.0 / 200_000)), mean_square)


@functools.cache
def _fitted():
    return fit_guide(_square, AutoLSEICNN(_square, modes=2), NINE, steps=300, progress=False)


@pytest.fixture(scope="session")
def square():
    return _square


@pytest.fixture(scope="session")
def nine():
    """The data of `square`."""
    return NINE


@pytest.fixture
def truth():
    return _truth()


@pytest.fixture
def fitted():
    """A fit of `square` that several tests look at."""
    return _fitted()
