"""Tests of a wire with hysteresis: loops, residuals, and the energy lost in each loop."""

from data_gen.superelastic import Wire
from lse_vi import fit_memory
from lse_vi.plots import plot_loops

result = fit_memory(Wire().tests(2, seed=0), progress=False)
plot_loops(result, stress_label="stress (MPa)")
