"""What a user of the wheel alone must be able to do: every fit, the figures, ArviZ.

Run it outside the repository, so that the installed library is the one that is tested.
"""

import matplotlib
import pyro
import pyro.distributions as dist
import torch

import lse_vi

matplotlib.use("Agg")
SHORT = {"progress": False, "steps": 30}


def model(y):
    """Data of |x|: two modes."""
    x = pyro.sample("x", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(x.abs(), 0.3), obs=y)


torch.manual_seed(0)
x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
fit = lse_vi.fit_density(x, modes=2, **SHORT)
lse_vi.plots.plot_density(fit.density, x)
posterior = lse_vi.fit_posterior(x, modes=2, draws=50, **SHORT)
tree = lse_vi.density_to_arviz(posterior)

at = torch.linspace(-2, 2, 50).unsqueeze(-1)
pot = lse_vi.LSEICNN(dim=1, modes=2)
lse_vi.fit_potential(pot, at, gradient=4 * at**3 - 4 * at, progress=False)
lse_vi.plots.plot_potential(pot, data=at)

y = torch.tensor([2.0, 2.1])
guide = lse_vi.AutoLSEICNN(model)
lse_vi.fit_guide(model, guide, y, **SHORT)
draws = lse_vi.sample_smc(model, guide, y, draws=400, progress=False)
tree = lse_vi.to_arviz(draws, model, y)
print("lse_vi", lse_vi.__version__, "with ArviZ object", type(tree).__name__)
