"""The density with its band, and its peaks with the intervals of their places."""

import numpy as np

from lse_vi import count_modes
from lse_vi.plots import plot_posterior

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-1.5, 1.0, 60), rng.normal(1.5, 1.0, 60), rng.normal(7, 1, 30)])
plot_posterior(count_modes(x, modes=4, progress=False)).set(xlabel="size (µm)")
