"""Would the fit have told? The data against replicates drawn from the posterior."""

import numpy as np

from lse_vi import fit_posterior
from lse_vi.plots import plot_check

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-1.5, 1.0, 60), rng.normal(4.0, 1.0, 60)])
plot_check(fit_posterior(x, modes=2, progress=False))
