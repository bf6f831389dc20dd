"""Points that belong to no mode do not hide the modes of the others."""

import math

import numpy as np
import pytest
import torch

from lse_vi import ICNN, fit_density
from lse_vi.densities.background import LEVEL, Background
from lse_vi.densities.data_source import Points
from lse_vi.distribution.box import Box
from lse_vi.network.icnn import WhitenedICNN
from lse_vi.network.potential import LSEICNN

QUICK = {"modes": 4, "steps": 50, "polish": 100, "restarts": 2, "hidden": (4,), "progress": False}


def groups(n=80, seed=0):
    rng = np.random.default_rng(seed)
    return np.r_[rng.normal(-3, 1, n), rng.normal(3, 1, n)]


STRAYS = {
    "one": [1e4],
    "both sides": [50.0, -70.0, 400.0, -900.0],
    "sentinels": [-999.0] * 8,
    "all over": list(np.linspace(-300, 300, 8)),
}


@pytest.mark.parametrize("strays", STRAYS.values(), ids=STRAYS)
def test_two_groups_are_two_modes_whatever_the_strays(strays):
    """Strays cost no mode and merge no groups; their share is the mass beside the modes."""
    res = fit_density(np.r_[groups(), strays], background=True, **QUICK)
    assert int(res.active_modes) == int(res.peaks) == 2
    assert res.warnings == ()
    share = len(strays) / (160 + len(strays))
    assert float(res.background) == pytest.approx(share, abs=0.4 * share + 0.002)
    two = res.mode_locations[:-1][res.mode_weights[:-1] > 0.1].flatten().sort().values
    torch.testing.assert_close(two, torch.tensor([-3.0, 3.0]), atol=0.4, rtol=0.0)
    assert "background, as wide as the data" in str(res)
    assert float(res.density.sample((4000,)).abs().gt(20).double().mean()) < 1.5 * share + 0.01


def test_data_without_strays_are_fitted_as_without_a_background():
    plain, res = (fit_density(groups(), background=b, **QUICK) for b in (False, True))
    assert int(res.active_modes) == int(plain.active_modes) == 2
    assert float(res.background) < 0.02
    assert abs(float(res.log_likelihood - plain.log_likelihood)) < 0.03
    assert plain.background is None


def test_strays_are_named_without_a_background():
    res = fit_density(np.r_[groups(), 1e4, -500.0], **QUICK)
    (warning,) = res.warnings
    assert warning.startswith("2 of 162 points lie more than 20 deviations")
    assert "background=True" in str(res)


@pytest.mark.parametrize("bounds", [None, (-1000.0, 1000.0)])
def test_two_dimensions_a_box_and_single_precision(bounds):
    rng = np.random.default_rng(1)
    x = np.r_[rng.normal(size=(80, 2)) - 3, rng.normal(size=(80, 2)) + 3, [[800, 5], [-900, 400]]]
    res = fit_density(x.astype("f4"), background=True, bounds=bounds, **QUICK)
    assert int(res.active_modes) == 2
    assert res.density.potential.alpha.dtype == torch.float32
    assert float(res.background) == pytest.approx(2 / 162, abs=0.01)


def test_each_data_set_of_a_batch_has_its_own_mass():
    x = np.stack([np.r_[groups(), [500.0, -600.0]], np.r_[groups(seed=1), [2.0, 3.0]]], 1)[
        ..., None
    ]
    res = fit_density(x, background=True, **QUICK)
    assert res.background.shape == (2,)
    assert res.background.tolist() == pytest.approx([2 / 162, 0.0], abs=0.008)
    assert res.active_modes.tolist() == [2, 2]


def test_units_do_not_matter():
    x = np.r_[groups(), 50.0, -70.0]
    plain, res = (fit_density(s * x, background=True, **QUICK) for s in (1.0, 2.0**80))
    torch.testing.assert_close(res.background, plain.background, atol=0.0, rtol=1e-9)
    assert res.active_modes == plain.active_modes


@pytest.mark.parametrize("options", [{"learn_rho": True}, {"network": ICNN, "bounds": (-9, 9)}])
def test_what_it_needs(options):
    with pytest.raises(ValueError, match="background: a part beside the modes needs"):
        fit_density(groups(), background=True, **QUICK, **options)


@pytest.mark.parametrize("box", [None, (-2.0, 1.0)])
def test_as_one_more_mode_it_is_the_same_density(box):
    """exp(-E) + epsilon u of K modes is exp(-E) of K + 1."""
    points = Points.of("x", torch.randn(50, 2) * torch.tensor([3.0, 40.0]))
    box = box and Box.of(box, 2, torch.zeros(()))
    background = Background.of(points, box)
    pot = LSEICNN(2, 3, rho=1.0, hidden=(4,), network=WhitenedICNN)
    x = torch.randn(20, 2)
    torch.testing.assert_close(background.joined(pot)(x), background.energy(pot(x), x))


def test_it_is_normalised_and_as_wide_as_the_data():
    x = torch.tensor([[-1.0], [0.0], [9.0]])
    points = Points.of("x", x)
    for box in (None, Box(torch.tensor([-2.0]), torch.tensor([3.0]))):
        background = Background.of(points, box)
        z = torch.linspace(-30, 30, 60_001)[:, None]
        inside = torch.ones(len(z)) if box is None else box.contains(z).double()
        total = torch.trapezoid(background.log_density(z).exp() * inside, z[:, 0])
        assert float(total) == pytest.approx(LEVEL, rel=1e-3)
        mean, deviation = points.moments
        assert float(background.loc * deviation + mean) == pytest.approx(4.0)
        assert float(background.scale * deviation) == pytest.approx(5.0)
        assert float(background.log_normalizer(torch.tensor(0.0))) == pytest.approx(
            math.log1p(LEVEL)
        )
