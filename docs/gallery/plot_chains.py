"""Chains of NUTS that stay in the mode where they began, and the weights that the guide found."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS

from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.plots import plot_chains


def model():
    amplitude = pyro.sample("amplitude", dist.Normal(0.0, 3.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.3))
    pyro.sample("power", dist.Normal((amplitude + 0.15) ** 2, scale), obs=torch.tensor(7.0))


result = fit_guide(model, AutoLSEICNN(model), progress=False)
pyro.set_rng_seed(1)
mcmc = MCMC(NUTS(model), num_samples=150, warmup_steps=100, num_chains=1, disable_progbar=True)
runs = [mcmc.run() or mcmc.get_samples() for _ in range(4)]
plot_chains(result, {name: torch.stack([run[name] for run in runs]) for name in runs[0]})
