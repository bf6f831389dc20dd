"""Predictions against exact values at points that the fit has not seen."""

import numpy as np
import torch

from lse_vi import LSEICNN, fit_potential
from lse_vi.plots import plot_parity

rng = np.random.default_rng(0)
x, unseen = rng.uniform(-2, 2, (2, 200))
noisy = 4 * x * (x**2 - 1) + 2 * rng.standard_normal(200)
fit = fit_potential(LSEICNN(1, 2), x, gradient=noisy[:, None], progress=False)
slope = fit.potential.gradient(torch.as_tensor(unseen)[:, None])
plot_parity(4 * unseen * (unseen**2 - 1), slope.squeeze(-1), labels=["slope"])
