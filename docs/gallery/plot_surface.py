"""Two wells in the plane as a surface: for a talk. Contour lines are easier to read off."""

import numpy as np

from data_gen import waddington
from lse_vi import LSEICNN, fit_potential
from lse_vi.plots import plot_surface

x = np.random.default_rng(0).uniform(0, 2.5, (300, 2))
potential = LSEICNN(2, 3, hidden=(8, 8))
fit = fit_potential(
    potential, x, gradient=waddington.gradient(x, 1.0), discovery=None, restarts=2, progress=False
)
plot_surface(fit.potential, bounds=(0, 2.5))
