"""Counts in two states: the density, its modes with their weights, the data."""

import numpy as np

from lse_vi import fit_density
from lse_vi.plots import plot_density

rng = np.random.default_rng(0)
x = np.concatenate([rng.gamma(3.0, 40.0, 120), rng.normal(520.0, 80.0, 180)])
result = fit_density(x, modes=4, bounds=(0, 1000), learn_rho=False, progress=False)
plot_density(result.density, x).set(xlabel="molecules per cell")
