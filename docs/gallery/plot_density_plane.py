"""Two measurements of each point: the density in grey, points in the colour of their mode."""

import numpy as np

from lse_vi import fit_density
from lse_vi.plots import plot_density

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal([-2, 0], [0.5, 1], (150, 2)), rng.normal([2, 1], 0.7, (100, 2))])
result = fit_density(x, modes=4, progress=False)
plot_density(result.density, x).set(xlabel="length (mm)", ylabel="width (mm)")
