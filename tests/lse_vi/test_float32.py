"""Every fit in single precision beside the same in double: equal counts, numbers near each other.

Roundings are of 1e-7, and a fit amplifies them: each test says how much was measured. Where a fit
draws random numbers, those of the two precisions are others; then results are compared within their
own errors.
"""

import math

import pytest
import torch

from lse_vi import (
    LSEICNN,
    AutoLSEICNN,
    Elastic,
    Isotropic,
    LevenbergMarquardt,
    Memory,
    fit_density,
    fit_guide,
    fit_memory,
    fit_posterior,
    fit_potential,
)
from lse_vi.materials.rates import RelaxationRate
from lse_vi.materials.steppers import Exponential

BOTH = (torch.float64, torch.float32)


def two_groups():
    """In numbers that both precisions hold: (200,)."""
    x = torch.cat([torch.randn(100) - 4, 0.5 * torch.randn(100) + 4])
    return x.float()


def test_a_density_by_adam_is_the_same_to_a_thousandth_of_a_nat():
    """From the same start: 1e-4 after 150 steps, in a log density that falls to -60."""
    x, at = two_groups(), torch.linspace(-7.0, 7.0, 60).unsqueeze(-1)
    options = {
        "modes": 3,
        "steps": 150,
        "hidden": (4,),
        "restarts": 1,
        "polish": 0,
        "progress": False,
    }
    double, single = (fit_density(x.to(dtype), **options) for dtype in BOTH)
    assert int(double.active_modes) == int(single.active_modes) == 2
    log_q, log_q_single = double.density.log_prob(at), single.density.log_prob(at.float())
    assert log_q_single.dtype == torch.float32
    torch.testing.assert_close(log_q_single.double(), log_q, rtol=0, atol=1e-3)
    weights = single.mode_weights.double()
    torch.testing.assert_close(weights, double.mode_weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bounds", [None, (-12.0, 12.0), (-12.0, None)])
@pytest.mark.parametrize("kind", ["plain", "counts", "weights", "background", "plane"])
def test_a_density_by_l_bfgs_is_that_of_the_same_numbers_in_double(bounds, kind):
    """L-BFGS amplifies roundings, so the fit is in double precision from its start to its end.

    What is left is the rounding of the result: 1e-5 in log q at most, which falls to -8.
    """
    x = two_groups().unsqueeze(-1)
    options = {"modes": 3, "hidden": (4,), "restarts": 1, "polish": 100}
    if kind == "background":
        if bounds == (-12.0, 12.0):
            options["learn_rho"] = False
        options["background"] = True
    elif kind == "counts":
        options["weights"] = torch.randint(0, 4, (200,))
    elif kind == "weights":
        options["weights"] = torch.rand(200).float()
    elif kind == "plane":
        x = torch.cat([x, torch.randn(200, 1).float()], dim=1)
    double, single = (
        fit_density(x.to(dtype), bounds=bounds, progress=False, **options) for dtype in BOTH
    )
    assert int(double.active_modes) == int(single.active_modes) == 2
    log_q, log_q_single = double.density.log_prob(x.double()), single.density.log_prob(x)
    assert log_q_single.dtype == torch.float32
    torch.testing.assert_close(log_q_single.double(), log_q, rtol=0, atol=1e-4)
    weights = single.mode_weights.double()
    torch.testing.assert_close(weights, double.mode_weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", ["value", "gradient"])
def test_a_potential_has_the_same_wells(given):
    """Each is as far from its targets as its error says, so both from each other by no more.

    Errors are 0.1 to 0.3 per cent of the spread, and wells are found to 0.007.
    """
    x = (torch.rand(100) * 4 - 2).float()
    options = {"solver": LevenbergMarquardt(steps=30), "restarts": 2, "polish": 0}
    fits, fitted = [], []
    for dtype in BOTH:
        u = x.to(dtype).unsqueeze(-1)
        target = (u.squeeze(-1) ** 2 - 1) ** 2 if given == "value" else 4 * u * (u**2 - 1)
        pot = LSEICNN(1, 3, hidden=(5,), dtype=dtype)
        fit = fit_potential(pot, u, **{given: target}, held_out=0.0, progress=False, **options)
        with torch.no_grad():
            there = fit.potential(u) if given == "value" else fit.potential.gradient(u)
        assert there.dtype == dtype
        fits.append(fit)
        fitted.append(there.double())
    assert [int(fit.active_modes) for fit in fits] == [2, 2]
    one, two = (fit.minima.points.double().sort(0).values for fit in fits)
    torch.testing.assert_close(two, one, rtol=0, atol=0.02)
    errors = sum(float(fit.error) for fit in fits)
    assert errors < 0.01
    spread = fitted[0].std() if given == "value" else fitted[0].square().mean().sqrt()
    assert (fitted[0] - fitted[1]).square().mean().sqrt() < 1.1 * errors * spread


def test_a_guide_finds_the_same_modes_and_evidence(square, nine):
    """Places to five digits; weights and evidence, from other draws, to 4.5 standard errors."""
    results = []
    for dtype in BOTH:
        torch.set_default_dtype(dtype)  # a fixture sets it back
        guide = AutoLSEICNN(square, modes=3)
        results.append(fit_guide(square, guide, nine.to(dtype), steps=100, progress=False))
    double, single = results
    assert {p.dtype for p in single.guide.parameters()} == {torch.float32}
    assert double.guide.potential.modes == single.guide.potential.modes == 2
    places = single.mode_locations["x"].double()
    torch.testing.assert_close(places, double.mode_locations["x"], rtol=1e-5, atol=0)
    weights = single.mode_weights.double()  # of the density, from 8,192 draws: 0.005 each
    torch.testing.assert_close(weights, double.mode_weights, rtol=0, atol=4.5 * 0.005 * 2**0.5)
    for name in ("log_evidence", "elbo"):
        gap = getattr(single, name) - getattr(double, name)
        errors = [getattr(result, f"{name}_error") for result in results]
        assert abs(gap) < 4.5 * math.hypot(*errors) + 1e-5


@pytest.mark.parametrize("kind", ["elastic", "memory"])
def test_a_material_is_the_same_to_five_digits(kind):
    """From the same start, 110 steps: losses to 1e-6 of themselves, stresses to 2e-6."""
    wave = torch.linspace(0, 2, 15)
    strain = torch.zeros(12, 15, 3, 3)
    strain[..., 0, 0] = -torch.linspace(0.3, 1.5, 12).unsqueeze(-1) * torch.minimum(wave, 2 - wave)
    strain, stresses, losses = strain.float(), [], []
    for dtype in BOTH:
        torch.manual_seed(3)
        model = Elastic(LSEICNN(3, 2, hidden=(6,)), Isotropic())
        if kind == "memory":
            rate = RelaxationRate(3, 2, hidden=(6,))
            model = Memory(LSEICNN(5, 2, hidden=(6,)), Isotropic(), rate, stepper=Exponential())
        paths = strain.to(dtype)
        fit = fit_memory(model.to(dtype), paths, 2 * paths, steps=110, batch=5, progress=False)
        losses.append(fit.history["loss"])
        stresses.append(fit.model(paths).stress)
    assert stresses[1].dtype == torch.float32
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(stresses[1].double(), stresses[0], rtol=0, atol=1e-4)


def test_a_posterior_computes_in_double_precision_whatever_comes_in():
    """The same bits from the same numbers."""
    x = two_groups()[:60]
    options = {"modes": 2, "hidden": (), "guide": "laplace", "draws": 50, "progress": False}
    double, single = (fit_posterior(x.to(dtype), **options) for dtype in BOTH)
    assert single.theta.dtype == torch.float64
    assert torch.equal(double.theta, single.theta)
    assert double.mode_probabilities == single.mode_probabilities
