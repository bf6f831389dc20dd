"""How a fit went: the loss, the loss on held-out points, and the number of modes."""

import numpy as np

from lse_vi import fit_density
from lse_vi.plots import plot_history

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-3, 1, 150), rng.normal(3, 1, 150)])
plot_history(fit_density(x, modes=3, progress=False).history).set(ylabel="loss (nats per point)")
