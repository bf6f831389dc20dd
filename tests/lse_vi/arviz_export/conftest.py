"""Models, a guide and data of which ArviZ objects are made, and what these hold."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro import poutine


@pytest.fixture
def data():
    return torch.tensor([0.3, -1.2, 0.8, 2.1, 0.1, 0.9])


def _conjugate(y):
    """mu ~ N(0, 1), y_i ~ N(mu, 1): its posterior is N(sum y / (n + 1), 1 / (n + 1))."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


@pytest.fixture(scope="session")
def conjugate():
    return _conjugate


def _exact_guide(y):
    pyro.sample("mu", dist.Normal(y.sum() / (len(y) + 1), (len(y) + 1) ** -0.5))


@pytest.fixture(scope="session")
def exact_guide():
    """Of `conjugate`."""
    return _exact_guide


def _hierarchy(y):
    """Sites in no plate, one plate to the left, both plates; vector events; computed sites."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    scale = pyro.deterministic("scale", mu.exp())
    pyro.deterministic("positive", mu > 0)
    group, time = pyro.plate("group", 3, dim=-2), pyro.plate("time", 4, dim=-1)
    with group:
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
    with group, time:
        level = pyro.deterministic("level", shift + weights[..., 0] * torch.arange(4.0))
        pyro.sample("y", dist.Normal(level, scale), obs=y)


@pytest.fixture(scope="session")
def hierarchy():
    return _hierarchy


def _groups_of(idata):
    """The names of the groups, in ArviZ 0.x and 1.x."""
    return set(idata.children if isinstance(idata, xr.DataTree) else idata.groups())


@pytest.fixture(scope="session")
def groups_of():
    return _groups_of


def _draws_of(model, *args, lead=(2, 3), sites):
    """Prior draws (chain, draw, *shape) of some sites."""
    n = math.prod(lead)
    runs = [poutine.trace(model).get_trace(*args).nodes for _ in range(n)]
    values = {name: torch.stack([run[name]["value"] for run in runs]) for name in sites}
    return {name: value.reshape(*lead, *value.shape[1:]) for name, value in values.items()}


@pytest.fixture(scope="session")
def draws_of():
    return _draws_of
