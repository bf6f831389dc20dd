"""The superelastic wire keeps the law of one transformation and the balance of energy."""

import numpy as np
import pytest

from data_gen.superelastic import Transformation, Wire, growing_loops

WIRES = {
    "flat": Wire(),
    "hardening": Wire((Transformation(hardening=2000.0),)),
    "set": Wire((Transformation(down=-100.0),)),
    "two": Wire((Transformation(0.02, 300, 150, 300), Transformation(0.025, 700, 500, 500))),
    "both": Wire((Transformation(0.04, 400, 200, 100), Transformation(-0.02, 600, 350, 150))),
}


def path(seed=0):
    return growing_loops(0.07, np.random.default_rng(seed), both_sides=seed % 2 == 1)


@pytest.mark.parametrize("hardening", [0.0, 2000.0])
def test_one_transformation_is_the_law_in_closed_form(hardening):
    e, z, stress = path(), 0.0, []
    for now in e:
        steep = hardening + 40e3 * 0.04
        z = min(max(z, (40e3 * now - 400) / steep), (40e3 * now - 200) / steep)
        z = min(max(z, 0.0), 1.0)
        stress.append(40e3 * (now - 0.04 * z))
    ours = Wire((Transformation(hardening=hardening),)).respond(e)
    np.testing.assert_allclose(ours.stress, stress, atol=1e-9)


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_stress_leaves_its_window(name, seed):
    wire, e = WIRES[name], path(seed)
    response = wire.respond(e)
    for j, t in enumerate(wire.transformations):
        z, s = response.share[:, j], np.sign(t.strain) * response.stress
        assert (s <= t.up + t.hardening * z + 1e-6)[z < 1].all()
        assert (s >= t.down + t.hardening * z - 1e-6)[z > 0].all()


@pytest.mark.parametrize("name", WIRES)
def test_the_work_of_a_closed_path_is_what_it_dissipates(name):
    wire = WIRES[name]
    turns = np.array([0.0, 0.08, 0.02, 0.06, -0.08, -0.03, 0.0])
    e = np.interp(np.linspace(0, 6, 6_001), np.arange(7), turns)
    response = wire.respond(e)
    if (response.share[-1] == 0).all():
        stored = 0.0
    else:  # the set is stored in nothing: only the linear part of the energy is left
        stored = sum(
            z * abs(t.strain) * (t.up + t.down) / 2 + z * z * abs(t.strain) * t.hardening / 2
            for z, t in zip(response.share[-1], wire.transformations, strict=True)
        ) + response.stress[-1] ** 2 / (2 * wire.modulus)
    work = float((0.5 * (response.stress[1:] + response.stress[:-1]) * np.diff(e)).sum())
    assert work == pytest.approx(stored + response.dissipation.sum(), rel=1e-3)


def test_tests_are_as_a_machine_writes_them():
    tests = Wire().tests(20, seed=3)
    for time, strain, stress in tests:
        assert 280 <= len(time) <= 520
        assert len(time) == len(strain) == len(stress)
        assert (np.diff(time) > 0).all()
        assert strain.max() == pytest.approx(0.06, abs=1e-3)
    exact = Wire().tests(20, noise=0.0, strain_noise=0.0, seed=3)
    errors = np.concatenate([a.strain - b.strain for a, b in zip(tests, exact, strict=False)])
    # The first test of both has the same path; later ones have drawn other numbers.
    first = len(tests[0].strain)
    assert errors[:first].std() == pytest.approx(2e-5, rel=0.2)


def test_a_wire_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="up > down"):
        Wire((Transformation(up=100.0),))
    with pytest.raises(ValueError, match="count must be at least 1"):
        Wire().tests(0)
    with pytest.raises(ValueError, match="strain must be finite"):
        Wire().respond([0.0, np.nan])
