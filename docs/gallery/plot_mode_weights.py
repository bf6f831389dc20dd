"""The share of the mass in each mode of that posterior; dashed where the guide missed one."""

import pyro
import pyro.distributions as dist
import torch

from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.plots import plot_mode_weights


def model(y):
    weight = pyro.sample("weight", dist.Beta(2.0, 2.0))
    loc = pyro.sample("loc", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    with pyro.plate("data", len(y)):
        mix = dist.Categorical(torch.stack([weight, 1 - weight], -1))
        pyro.sample("y", dist.MixtureSameFamily(mix, dist.Normal(loc, 1.0)), obs=y)


torch.manual_seed(0)
y = torch.cat([torch.randn(60) - 2, torch.randn(40) + 2])
plot_mode_weights(fit_guide(model, AutoLSEICNN(model), y, progress=False))
