"""A fit of s x + o is the fit of x, moved and scaled: no public function knows what one is.

Up to the rounding of the data themselves: factors that are powers of two change no bit where all
is standardised first, other factors and offsets change the last ones.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lse_vi import (
    LSEICNN,
    Elastic,
    Isotropic,
    LSEDensity,
    Play,
    basins,
    count_modes,
    fit_density,
    fit_memory,
    fit_posterior,
    fit_potential,
    gradient_flow,
    polish_memory,
    stationary_points,
)

QUIET = {"progress": False}
EXPONENTS = st.floats(-150.0, 150.0)
FEW = settings(max_examples=3, deadline=None)


def groups(n=40):
    rng = np.random.default_rng(0)
    return np.r_[rng.normal(-3, 1, n), rng.normal(3, 1.3, n)]


def close(actual, expected, rel=1e-6, floor=0.0):
    """Within ``rel`` of the largest expected value, or of ``floor`` if that is larger."""
    actual, expected = (
        torch.as_tensor(v, dtype=torch.float64).detach() for v in (actual, expected)
    )
    size = max(float(expected.nan_to_num().abs().max()), floor)
    assert actual.shape == expected.shape
    assert bool((actual.isnan() == expected.isnan()).all())
    assert float((actual - expected).nan_to_num().abs().max()) <= rel * size


# -- densities ------------------------------------------------------------------------------------


def density(x, **options):
    return fit_density(x, modes=2, steps=40, restarts=2, **options, **QUIET)


@cache
def plain_density():
    return density(groups())


def same_density(res, plain, scale, offset=0.0, rel=1e-6):
    scale = torch.as_tensor(scale, dtype=torch.float64)
    assert res.active_modes.tolist() == plain.active_modes.tolist()
    assert res.peaks.tolist() == plain.peaks.tolist()
    close(res.mode_weights, plain.mode_weights, rel)
    close((res.mode_locations.double() - offset) / scale, plain.mode_locations, rel, floor=4.0)
    close(res.log_likelihood + scale.log().sum(), plain.log_likelihood, rel, floor=1.0)
    assert res.warnings == plain.warnings == ()


@FEW
@example(1e150)
@example(1e-150)
@given(EXPONENTS.map(lambda e: 10.0**e))
def test_density_of_scaled_data(scale):
    same_density(density(scale * groups()), plain_density(), scale)


def test_density_of_data_scaled_by_a_power_of_two_has_shapes_that_are_the_same_to_the_bit():
    """Its frames hold the logarithm of the scale, which rounds."""
    plain, res = plain_density(), density(2.0**300 * groups())
    same_density(res, plain, 2.0**300, rel=1e-12)
    shape = {k: v for k, v in plain.density.potential.state_dict().items() if "icnn" in k}
    for name, p in shape.items():
        assert torch.equal(res.density.potential.state_dict()[name], p)


def test_density_with_both_scales_at_once_on_a_box():
    x = np.random.default_rng(1).random((60, 2)) * [1.0, 2.0] + [0.0, 3.0]
    scale = np.array([1e-90, 1e70])
    plain = density(x, bounds=((0, 3), (1, 5)))
    res = density(scale * x, bounds=(scale * (0, 3), scale * (1, 5)))
    same_density(res, plain, scale)


@pytest.mark.parametrize("offset", [1e3, -1e6])
def test_density_of_data_far_from_zero(offset):
    spread = groups().std()
    moved = density(groups() + offset * spread)
    same_density(moved, plain_density(), 1.0, offset * spread, rel=1e-4)


def test_density_in_single_precision():
    x = groups().astype(np.float32)
    for scale, offset in ((1e-12, 0.0), (1e12, 0.0), (1.0, 1e3)):
        moved = x.astype(float) * scale + offset * scale
        plain = density(
            ((moved.astype(np.float32) - np.float32(offset * scale)) / scale).astype("f4")
        )
        same_density(density(moved.astype(np.float32)), plain, scale, offset * scale, rel=1e-3)


# -- posteriors -----------------------------------------------------------------------------------


LAPLACE = {"modes": 2, "guide": "laplace", "draws": 50, **QUIET}


@cache
def plain_posterior():
    return fit_posterior(groups(15), **LAPLACE)


@cache
def plain_count():
    return count_modes(groups(15), **LAPLACE)


@FEW
@given(EXPONENTS.map(lambda e: 10.0**e))
def test_posterior_of_scaled_data(scale):
    plain = plain_posterior()
    res = fit_posterior(scale * groups(15), **LAPLACE)
    assert res.mode_probabilities == plain.mode_probabilities
    evidence = res.evidence.log_evidence + 30 * math.log(scale)
    close(evidence, plain.evidence.log_evidence)
    close(res.theta, plain.theta)
    x = np.linspace(-5, 5, 7)
    close(res.density(scale * x) * scale, plain.density(x))
    close(res.cdf(scale * x), plain.cdf(x))
    close(res.predictive(3) / scale, plain.predictive(3))


@settings(max_examples=2, deadline=None)
@example(1.0, 1e6)
@given(EXPONENTS.map(lambda e: 10.0**e), st.just(0.0))
def test_number_of_modes_of_moved_data(scale, offset):
    res = count_modes(scale * groups(15) + offset, **LAPLACE)
    for m, p in plain_count().probabilities.items():
        assert res.probabilities[m] == pytest.approx(p, rel=1e-6 if not offset else 1e-4)


# -- potentials and motion on them ----------------------------------------------------------------

X = np.linspace(-2, 2, 80)
Y = (X**2 - 1) ** 2 + 0.2 * X
G = 4 * X * (X**2 - 1) + 0.2
KINDS = ("value", "gradient", "both")
WELLS = {"discovery": None, "restarts": 3, "polish": 15, **QUIET}


def potential(kind, scale=1.0, height=1.0, offset=0.0, level=0.0, dtype=torch.float64, **options):
    torch.manual_seed(0)
    pot = LSEICNN(1, 2, hidden=(6,), dtype=dtype)
    given = {"value": height * Y + level, "gradient": height / scale * G}
    if kind != "both":
        given = {kind: given[kind]}
    return fit_potential(pot, scale * X + offset, **given, **WELLS, **options)


plain_potential = cache(potential)


def same_wells(res, plain, scale, height, offset=0.0, level=0.0, rel=1e-6):
    assert res.minima.points.shape == plain.minima.points.shape == (2, 1)
    close((res.minima.points - offset) / scale, plain.minima.points, rel, floor=1.0)
    close((res.minima.energies - level) / height, plain.minima.energies, rel, floor=1.0)
    close(res.error, plain.error, 1e-3)  # a small difference of large numbers


@pytest.mark.parametrize("kind", KINDS)
@FEW
@example(1e150, 1e-150)
@example(1e-150, 1e150)
@given(EXPONENTS.map(lambda e: 10.0**e), EXPONENTS.map(lambda e: 10.0**e))
def test_potential_of_scaled_data(kind, scale, height):
    if not 1e-300 < height / scale < 1e300:  # no gradient can be written down
        height = 1 / scale
    same_wells(potential(kind, scale, height), plain_potential(kind), scale, height)


@pytest.mark.parametrize("kind", KINDS)
def test_potential_of_data_scaled_by_powers_of_two_is_the_same_to_the_bit(kind):
    plain, res = plain_potential(kind), potential(kind, 2.0**200, 2.0**-300)
    for name, p in plain.potential.network.state_dict().items():
        assert torch.equal(res.potential.network.state_dict()[name], p)
    assert torch.equal(res.minima.points / 2.0**200, plain.minima.points)


@pytest.mark.parametrize(("offset", "level"), [(1e6, 0.0), (0.0, -4e4), (-1e6, 1e6)])
def test_potential_of_data_far_from_zero(offset, level):
    res = potential("value", offset=offset, level=level)
    same_wells(res, plain_potential("value"), 1.0, 1.0, offset, level, rel=1e-4)


def test_potential_in_single_precision_keeps_differences_and_slopes():
    """E near -40,000 has steps of 0.004 in single precision; the fit is good to 1e-3."""
    res = potential("value", offset=1e3, level=-4e4, dtype=torch.float32)
    plain = potential("value", dtype=torch.float32)
    same_wells(res, plain, 1.0, 1.0, 1e3, -4e4, rel=1e-3)
    x = torch.as_tensor(X + 1e3).unsqueeze(-1)
    close(res.potential(x) + 4e4, plain.potential(torch.as_tensor(X).unsqueeze(-1)), 1e-3)
    close(res.potential.gradient(x).squeeze(-1), torch.as_tensor(G), 0.05)


@FEW
@example(1e100, 1e-100)
@given(st.floats(-100, 100).map(lambda e: 10.0**e), st.floats(-100, 100).map(lambda e: 10.0**e))
def test_motion_on_a_scaled_landscape(scale, height):
    plain, pot = plain_potential("value").potential, potential("value", scale, height).potential
    grid = torch.linspace(-1.8, 1.8, 25).unsqueeze(-1)
    one, two = stationary_points(plain, grid), stationary_points(pot, scale * grid)
    assert one.kinds == two.kinds
    assert sorted(one.kinds) == ["maximum", "minimum", "minimum"]
    close(two.points / scale, one.points)
    close(two.energies / height, one.energies, floor=1.0)
    close(two.curvatures / height * scale * scale, one.curvatures)
    wells = plain.minima(grid).points
    close(pot.minima(scale * grid).points / scale, wells)
    assert torch.equal(basins(pot, scale * grid, scale * wells), basins(plain, grid, wells))
    times = np.array([0.0, 0.1, 1.0])
    paths = gradient_flow(pot, scale * grid, times * scale * scale / height)
    close(paths / scale, gradient_flow(plain, grid, times))


def test_the_density_of_a_potential_with_units():
    """Boltzmann's law of a fitted potential, whatever its units are."""
    res = potential("value", scale=1e-3, offset=5.0, level=-4e4)
    q = LSEDensity(res.potential, bounds=(5 - 2e-3, 5 + 2e-3))
    x = 5.0 + 1e-3 * torch.linspace(-2, 2, 4001)
    law = q.log_prob(x.unsqueeze(-1)).exp().detach()
    assert float(torch.trapezoid(law, x)) == pytest.approx(1.0, abs=1e-6)
    truth = torch.as_tensor(np.interp(x, 5 + 1e-3 * X, -Y))
    gap = (law.log() - truth)[100:-100]
    assert float((gap - gap.mean()).abs().max()) < 0.05
    assert q.sample((10,)).shape == (10, 1)


# -- materials ------------------------------------------------------------------------------------


def material(kind, scale=1.0, height=1.0):
    """Stresses of a fitted model, and its losses: its units are its own arguments."""
    torch.manual_seed(0)
    strain = 0.1 * torch.rand(6, 12, 1, 1) * torch.eye(3)
    units = {"strain_unit": 0.1 * scale, "stress_unit": 0.2 * height}
    pot = LSEICNN(3, 2, hidden=(4,))
    model = Elastic(pot, Isotropic(), **units)
    if kind == "play":
        model = Play(pot, Isotropic(), **units).start(scale * strain)
    stress = height * (2 * strain + 5 * strain @ strain)
    fit_memory(model, scale * strain, stress, steps=40, batch=3, **QUIET)
    history = polish_memory(model, scale * strain, stress, steps=15, **QUIET).history
    return model(scale * strain).stress, history["loss"]


plain_material = cache(material)


@pytest.mark.parametrize("kind", ["elastic", "play"])
@FEW
@example(2.0**-100, 2.0**150)
@example(1e-150, 1e-150)
@given(EXPONENTS.map(lambda e: 10.0**e), EXPONENTS.map(lambda e: 10.0**e))
def test_materials_in_other_units(kind, scale, height):
    (plain, losses), (res, scaled) = plain_material(kind), material(kind, scale, height)
    close(res / height, plain)
    close(scaled, losses, 1e-5)
