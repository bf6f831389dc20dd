"""Weights of points in fits of potentials: counts are repeated points, only ratios of others."""

import pytest
import torch

from lse_vi import LSEICNN, LevenbergMarquardt, fit_potential
from lse_vi.potentials.outliers import without_outliers
from lse_vi.potentials.scaling import scaling_of
from lse_vi.potentials.targets import as_targets

FEW = {
    "progress": False,
    "discovery": None,
    "restarts": 0,
    "held_out": 0.0,
    "polish": 0,
    "solver": LevenbergMarquardt(steps=6),  # before rounding errors grow
}


@pytest.fixture
def data():
    """More points than parameters, so that steps are solved for in parameters in all fits."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 2, generator=generator)
    value = (x[:, 0] ** 2 - 1) ** 2 + x[:, 1] ** 2
    gradient = torch.stack([4 * x[:, 0] * (x[:, 0] ** 2 - 1), 2 * x[:, 1]], 1)
    noise = torch.randn(90, generator=generator)
    return x, value + 0.1 * noise, gradient, torch.randint(0, 4, (90,), generator=generator)


def start():
    torch.manual_seed(1)
    return LSEICNN(2, 2, hidden=(4,))


@pytest.mark.parametrize("kind", ["value", "gradient", "both"])
def test_a_fit_takes_counts_as_repeated_points(data, kind):
    x, value, gradient, counts = data
    value, gradient = (None if kind == other else part
                       for other, part in (("gradient", value), ("value", gradient)))  # fmt: skip
    again = [None if p is None else p.repeat_interleave(counts, 0) for p in (x, value, gradient)]
    one = fit_potential(start(), x, value, gradient, weights=counts, **FEW)
    other = fit_potential(start(), *again, **FEW)
    torch.testing.assert_close(one.error, other.error, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(one.potential(x), other.potential(x), rtol=1e-8, atol=1e-8)
    assert int(one.active_modes) == int(other.active_modes)


def test_units_and_outliers_take_counts_as_repeated_points(data):
    x, value, gradient, counts = data
    counts[3] = 1
    close = fit_potential(start(), x, value, gradient, progress=False, discovery=None).potential
    value[3] += 100.0  # an outlier
    again = [p.repeat_interleave(counts, 0) for p in (x, value, gradient)]
    both = [
        as_targets(start(), x, value, gradient, 1.0, 1.0, counts),
        as_targets(start(), *again, 1.0, 1.0),
    ]
    for parts in zip(*(vars(scaling_of(t)).values() for t in both), strict=True):
        torch.testing.assert_close(*parts, rtol=1e-12, atol=1e-12)
    for targets in both:
        left = torch.ones(len(targets), dtype=torch.bool)
        left[without_outliers(close, targets)] = False
        torch.testing.assert_close(targets.x[left], x[3:4])


def test_only_ratios_of_floating_weights_matter_and_zero_leaves_out(data):
    x, value, _, _ = data
    w = torch.rand(90, generator=torch.Generator().manual_seed(2))
    w[5] = 0.0
    value[5] = 1e6
    one, other = (fit_potential(start(), x, value, weights=c * w, **FEW) for c in (1.0, 1e-9))
    torch.testing.assert_close(one.potential(x), other.potential(x), rtol=1e-8, atol=1e-8)
    kept = torch.arange(90) != 5
    without = fit_potential(start(), x[kept], value[kept], weights=w[kept], **FEW)
    torch.testing.assert_close(one.potential(x), without.potential(x), rtol=1e-8, atol=1e-8)


def test_points_that_weigh_more_are_fitted_better():
    """Two values at each place: the fit lies at their weighted mean, by restarts as well."""
    x = torch.linspace(-1, 1, 30).repeat(2)
    y = torch.cat([x[:30] ** 2, x[30:] ** 2 + 1])
    w = torch.cat([torch.full((30,), 3.0), torch.full((30,), 1.0)])
    res = fit_potential(
        LSEICNN(1, 1, hidden=(4,)), x, value=y, weights=w, restarts=2, progress=False
    )
    middle = res.potential(x[:30].unsqueeze(-1)) - x[:30] ** 2
    assert float(middle.detach().mean()) == pytest.approx(0.25, abs=0.05)


def test_each_data_set_of_a_batch_has_weights_of_its_own(data):
    x, value, _, counts = data
    pot = LSEICNN(2, 2, hidden=(4,), batch_shape=(2,))
    other = counts.flip(0)
    both = fit_potential(pot, x, value, weights=torch.stack([counts, other], 1), **FEW)
    for i, own in enumerate((counts, other)):
        kept = (counts + other) > 0
        single = fit_potential(pot.select(i), x[kept], value[kept], weights=own[kept], **FEW)
        torch.testing.assert_close(both.error[i], single.error, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0, 2.0], r"shape \(90,\)"), (-torch.ones(90), "negative"), (torch.zeros(90), "above 0")],
)
def test_wrong_weights_are_refused_by_name(data, weights, message):
    x, value, _, _ = data
    with pytest.raises(ValueError, match=f"weights must .*{message}"):
        fit_potential(start(), x, value, weights=weights, **FEW)
