"""One state becomes two: a density for each time, its modes as dots whose area is their mass."""

import numpy as np
import pandas as pd

from lse_vi import fit_density
from lse_vi.plots import plot_over_time

rng = np.random.default_rng(0)
side = rng.choice([-1, 1], (150, 1))
count = 250 + 40 * side * np.arange(5) + 40 * rng.standard_normal((150, 5))
table = pd.DataFrame(count).melt(var_name="time (h)", value_name="molecules")
result = fit_density(table, value="molecules", by="time (h)", modes=3, progress=False)
plot_over_time(result)
