"""A posterior with two modes: draws of each pair of variables, coloured by mode."""

import pyro
import pyro.distributions as dist
import torch

from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.plots import plot_pairs


def model(y):
    weight = pyro.sample("weight", dist.Beta(2.0, 2.0))
    loc = pyro.sample("loc", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    with pyro.plate("data", len(y)):
        mix = dist.Categorical(torch.stack([weight, 1 - weight], -1))
        pyro.sample("y", dist.MixtureSameFamily(mix, dist.Normal(loc, 1.0)), obs=y)


torch.manual_seed(0)
y = torch.cat([torch.randn(60) - 2, torch.randn(40) + 2])
plot_pairs(fit_guide(model, AutoLSEICNN(model), y, progress=False))
