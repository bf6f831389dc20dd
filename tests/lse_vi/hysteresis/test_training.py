"""The derivatives of a fit are those of its errors, and a fit ends at the truth."""

import pytest
import torch

from data_gen.superelastic import Wire
from lse_vi.hysteresis.data import Data
from lse_vi.hysteresis.elements import Element, build, corrected
from lse_vi.hysteresis.records import read_tests
from lse_vi.hysteresis.training import Errors, put, train, vector

ONE = [Element(1, 0.2, 0.6, 0.11, (-1.7, 0.15))]
KINDS = {
    "none": [],
    "one": ONE,
    "chain": [*ONE, Element(1, 0.5, 0.3, 0.11, (-0.3, 0.05))],
    "both sides": [*ONE, Element(-1, 0.2, 0.4, 0.08, (0.6, 0.1))],
}


def data(**options):
    tests = Wire().tests(2, **options)
    return Data.of(read_tests(tests, strain="", stress="", times=""))


@pytest.mark.parametrize("hidden", [(), (4, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_differences(kind, hidden):
    tests = data(both_sides=kind == "both sides")
    model, _ = build((0.01, 3.2), KINDS[kind], tests.units)
    model = corrected(model, hidden, seed=0) if hidden else model
    errors, x = Errors(model, tests), vector(model)
    slopes, step = errors.jacobian(x), 1e-6
    for i in range(len(x)):
        shift = torch.zeros_like(x)
        shift[i] = step
        difference = (errors(x + shift) - errors(x - shift)) / (2 * step)
        # At a few rows a state begins or ends to move between the two: a kink has no derivative.
        off = (difference - slopes[:, i]).abs() > 1e-5 * slopes[:, i].abs().max().clamp_min(1.0)
        assert off.double().mean() < 0.02


def test_the_vector_of_a_model_is_what_is_put_into_it():
    tests = data()
    model, _ = build((0.01, 3.2), KINDS["chain"], tests.units)
    x = vector(model)
    put(model, 2 * x)
    assert torch.equal(vector(model), 2 * x)


def test_a_fit_ends_at_the_truth():
    tests = data(noise=0.0, strain_noise=0.0)
    model, _ = build((0.0, 3.0), ONE, tests.units)
    solution = train(model, tests, steps=60)
    assert solution.cost < 1e-20
    energy = tests.units.energy
    assert float(energy * model.mixing.detach()) == pytest.approx(64.0, rel=1e-9)
    assert float(energy * model.thresholds.detach().sum()) == pytest.approx(8.0, rel=1e-9)


def test_a_robust_fit_is_not_moved_by_outliers():
    tests = data(noise=0.0, strain_noise=0.0)
    tests.stress[::20] += 0.5
    model, _ = build((0.0, 3.0), ONE, tests.units)
    train(model, tests, steps=60, robust=True)
    assert float(tests.units.energy * model.mixing.detach()) == pytest.approx(64.0, rel=0.01)


def test_rows_without_weight_do_not_count():
    tests = data(noise=0.0, strain_noise=0.0)
    out = torch.zeros_like(tests.weight, dtype=torch.bool)
    out[::3] = True
    tests.stress[::3] += 5.0
    model, _ = build((0.0, 3.0), ONE, tests.units)
    train(model, tests.without(out), steps=60)
    assert float(tests.units.energy * model.mixing.detach()) == pytest.approx(64.0, rel=1e-9)
