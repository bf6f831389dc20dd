"""What the draws of a posterior say agrees with itself, and with the truth."""

import pytest
import torch


def test_density_cdf_and_draws_agree(fit):
    x = torch.linspace(-12.0, 12.0, 2001)
    q = fit.density(x)
    mass = torch.cumulative_trapezoid(q, x)
    torch.testing.assert_close(mass[:, -1], torch.ones(len(q)), atol=1e-4, rtol=0)
    torch.testing.assert_close(fit.cdf(x)[:, 1:], mass, atol=2e-3, rtol=0)
    replicate = fit.predictive(200)
    assert replicate.shape == (200, 120, 1)
    below = (replicate < 0).double().mean()
    assert float(below) == pytest.approx(float(fit.cdf(torch.zeros(1)).mean()), abs=0.02)


def test_peak_table_holds_the_truth(fit):
    assert fit.mode_probabilities.get(2, 0) > 0.9
    left, right = fit.peak_table(0.99)
    assert left.location_low < -3.0 < left.location_high
    assert right.location_low < 3.0 < right.location_high
    assert left.mass_low < 1 / 3 < left.mass_high
    assert "number of peaks" in str(fit)


def test_cdf_takes_points_of_one_dimension(fit):
    assert fit.cdf(torch.zeros(3, 1)).shape == (400, 3)
    with pytest.raises(ValueError, match="x must have last dimension 1"):
        fit.cdf(torch.zeros(3, 2))
