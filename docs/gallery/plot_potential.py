"""A double well from noisy slopes: the potential, its two modes and its minima."""

import numpy as np

from lse_vi import LSEICNN, fit_potential
from lse_vi.plots import plot_potential

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, 200)
slope = 4 * x * (x**2 - 1) + 0.5 + 0.1 * rng.standard_normal(200)
fit = fit_potential(LSEICNN(1, 4), x, gradient=slope[:, None], progress=False)
plot_potential(fit.potential, data=x).set(xlabel="position (nm)", ylabel="energy (kT)")
