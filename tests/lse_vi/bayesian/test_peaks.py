"""Peaks of drawn densities."""

import torch

from lse_vi import BayesianDensity
from lse_vi.bayesian.peaks import density_peaks


def test_peaks_are_the_local_maxima(two_groups):
    """Climbing from the modes finds what a fine grid shows, up to slivers of mass."""
    model = BayesianDensity(two_groups(60, apart=1.3), modes=3)
    theta = model.prior_sample(200)
    x = torch.linspace(-12, 12, 8001)
    log_q = model.coordinates.log_density(theta, x.unsqueeze(-1))
    up = log_q.diff(dim=-1) > 0
    on_grid = (up[:, :-1] & ~up[:, 1:]).sum(-1)
    peaks = density_peaks(model.coordinates, theta)
    heavy = model.coordinates.masses(theta).amin(-1) > 0.02  # none too small to count
    assert heavy.sum() > 50
    assert (peaks.number == on_grid)[heavy].double().mean() > 0.95
    torch.testing.assert_close(peaks.mass[heavy].sum(-1), torch.ones(int(heavy.sum())))
