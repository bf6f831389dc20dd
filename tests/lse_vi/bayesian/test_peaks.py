"""Peaks of drawn densities."""

import pytest
import torch

from lse_vi import BayesianDensity
from lse_vi.bayesian.peaks import density_peaks


@pytest.mark.parametrize("bounds", [None, (-1.0, None), (-1.0, 2.0)])
def test_peaks_are_the_local_maxima(bounds, two_groups):
    """Climbing from the modes finds what a fine grid shows, up to slivers of mass.

    In an interval a density may rise towards a side, behind which modes peak: that is one peak.
    """
    x = two_groups(60, apart=1.3)
    x = x if bounds is None else x[(x > -1) & (x < 2)]
    model = BayesianDensity(x, modes=3, bounds=bounds)
    theta = model.prior_sample(200)
    low, high = (-12.0 if bounds is None else -1.0), (2.0 if bounds == (-1.0, 2.0) else 12.0)
    x = torch.linspace(low, high, 8001)
    log_q = model.coordinates.log_density(theta, x.unsqueeze(-1))
    log_q = torch.nn.functional.pad(log_q, (1, 1), value=-torch.inf)  # a side with a slope counts
    up = log_q.diff(dim=-1) > 0
    on_grid = (up[:, :-1] & ~up[:, 1:]).sum(-1)
    peaks = density_peaks(model.coordinates, theta)
    heavy = model.coordinates.masses(theta).amin(-1) > 0.02  # none too small to count
    assert heavy.sum() > 50
    assert (peaks.number == on_grid)[heavy].double().mean() > 0.95
    torch.testing.assert_close(peaks.mass[heavy].sum(-1), torch.ones(int(heavy.sum())))
