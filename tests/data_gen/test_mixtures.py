"""The mixtures are what they declare."""

import numpy as np
import pytest
from scipy.stats import kstest

from data_gen.mixtures import LAWS


@pytest.fixture(params=LAWS.values(), ids=LAWS.keys())
def law(request):
    return request.param


def test_density_integrates_to_the_cdf_and_has_the_peaks_declared(law):
    x = np.linspace(-15, 15, 60_001)
    q = law.density(x)
    assert np.trapezoid(q, x) == pytest.approx(1, abs=1e-9)
    half = len(x) // 2
    assert np.trapezoid(q[: half + 1], x[: half + 1]) == pytest.approx(law.cdf(x[half]), abs=1e-8)
    up = np.diff(q) > 0
    assert (up[:-1] & ~up[1:]).sum() == law.peaks


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_follow_the_cdf(law, seed):
    x = law.sample(3000, seed)
    assert kstest(x, law.cdf).pvalue > 0.001
    assert (x == law.sample(3000, seed)).all()
