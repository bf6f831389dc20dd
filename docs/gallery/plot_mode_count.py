"""How probable each number of modes is: of peaks, and of convex parts."""

import numpy as np

from lse_vi import count_modes
from lse_vi.plots import plot_mode_count

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(-1.5, 1.0, 60), rng.normal(1.5, 1.0, 60), rng.normal(7, 1, 30)])
plot_mode_count(count_modes(x, modes=4, progress=False))
