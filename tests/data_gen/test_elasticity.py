"""The two-phase material against its closed forms."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from data_gen import elasticity as el


def ramp(*turns, steps=200):
    """E11 in even steps from 0 through each of ``turns``."""
    corners = np.array([0.0, *turns])
    return np.interp(np.arange(steps * len(turns) + 1) / steps, np.arange(len(corners)), corners)


def cycle(peak=-0.25, steps=200):
    e11 = ramp(peak, 0.0, steps=steps)
    return e11, el.respond(el.uniaxial(e11))


def random_strains(n, seed=0):
    e = np.random.default_rng(seed).uniform(-0.25, 0.25, (n, 3, 3))
    return (e + e.swapaxes(-1, -2)) / 2


def test_forward_and_reverse_plateaus_begin_and_end_where_declared():
    e11, response = cycle(steps=250)  # steps of 0.001: the declared strains are samples
    forward, reverse = np.arange(501) <= 250, np.arange(501) >= 250
    for part, strains, plateau in [
        (forward, el.FORWARD_STRAINS, el.FORWARD_STRESS),
        (reverse, el.REVERSE_STRAINS, el.REVERSE_STRESS),
    ]:
        low, high = sorted(strains)
        on = part & (e11 > low - 1e-9) & (e11 < high + 1e-9)
        np.testing.assert_allclose(response.stress[on, 0, 0], plateau, atol=1e-12)
        c = response.phase
        moving = part & (c > 1e-9) & (c < 1 - 1e-9)
        # c moves strictly inside the declared strains and nowhere else
        assert low < e11[moving].min() < low + 0.002
        assert high - 0.002 < e11[moving].max() < high
    c = response.phase
    np.testing.assert_allclose(c[forward & (e11 > -0.0719)], 0, atol=1e-12)
    np.testing.assert_allclose(c[reverse & (e11 < -0.1001)], 1, atol=1e-12)


def test_lateral_stress():
    e11, response = cycle()
    lateral = (2 / 3) * (e11 - response.phase * el.EPS0)
    for i in (1, 2):
        np.testing.assert_allclose(response.stress[:, i, i], lateral, atol=1e-12)


def test_a_full_cycle_dissipates_the_area_of_its_loop():
    e11, response = cycle(steps=500)
    assert el.CYCLE_DISSIPATION == 0.012
    np.testing.assert_allclose(response.dissipation.sum(), 0.012, atol=1e-15)
    # The samples hold the kinks (multiples of 0.0005), so the trapezoid rule is exact.
    work = trapezoid(response.stress[:, 0, 0], e11)
    np.testing.assert_allclose(work, 0.012, atol=1e-12)


@pytest.mark.parametrize("peak", [-0.03, -0.0719, 0.1])
def test_the_elastic_range_dissipates_nothing(peak):
    _, response = cycle(peak)
    assert (response.phase == 0).all()
    assert (response.dissipation == 0).all()


def test_a_fixed_phase_dissipates_nothing():
    """Its work is the change of Psi, so that of a closed path is zero: here a random polygon."""
    corners = random_strains(6)
    corners[-1] = corners[0]
    middles = (corners[1:] + corners[:-1]) / 2  # stress is linear in E: the midpoint rule is exact
    work = np.einsum("nij,nij->", el.stress(middles, 0.5), np.diff(corners, axis=0))
    assert abs(work) < 1e-15


def test_energy_balance_of_random_paths_in_three_dimensions():
    """Work = change of Psi + dissipation, on fine steps; and no step dissipates less than zero."""
    corners = np.concatenate([np.zeros((1, 3, 3)), random_strains(8, seed=3)])
    t = np.linspace(0, 8, 8 * 4000 + 1)
    k = np.minimum(t.astype(int), 7)
    strain = corners[k] + (t - k)[:, None, None] * (corners[k + 1] - corners[k])
    response = el.respond(strain)
    assert np.ptp(response.phase) > 0.5
    assert (response.dissipation >= 0).all()
    mean = (response.stress[1:] + response.stress[:-1]) / 2
    work = np.einsum("nij,nij->", mean, np.diff(strain, axis=0))
    stored = el.energy(strain[-1], response.phase[-1])
    np.testing.assert_allclose(work, stored + response.dissipation.sum(), rtol=1e-6)


def test_conjugate_force_and_stress_are_derivatives_of_the_energy():
    strain, c, h = random_strains(20), np.random.default_rng(1).uniform(0, 1, 20), 1e-5
    slope = (el.energy(strain, c + h) - el.energy(strain, c - h)) / (2 * h)
    np.testing.assert_allclose(el.conjugate_force(strain, c), -slope, atol=1e-11)
    for i in range(3):
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] += h / 2
            step[j, i] += h / 2  # symmetric: moves along E_ij and E_ji together
            slope = (el.energy(strain + step, c) - el.energy(strain - step, c)) / (2 * h)
            np.testing.assert_allclose(el.stress(strain, c)[:, i, j], slope, atol=1e-11)


def test_conjugate_force_stays_within_the_thresholds_while_phases_mix():
    strain = el.uniaxial(el.sawtooth(50, seed=2))
    response = el.respond(strain)
    c, force = response.phase, response.force
    mixed = (c > 0) & (c < 1)
    assert mixed.any()
    assert (np.abs(force[mixed]) <= 0.006 + 1e-12).all()
    change = np.diff(c, axis=-1, prepend=0.0)
    np.testing.assert_allclose(force[(change > 1e-9) & (c < 1)], el.K_FORWARD, atol=1e-12)
    np.testing.assert_allclose(force[(change < -1e-9) & (c > 0)], -el.K_REVERSE, atol=1e-12)


def test_the_response_does_not_depend_on_the_sampling():
    e11 = el.sawtooth(20, seed=4)
    fine = np.stack([np.interp(np.arange(1001) / 10, np.arange(101), e) for e in e11])
    coarse, fine = el.respond(el.uniaxial(e11)), el.respond(el.uniaxial(fine))
    np.testing.assert_allclose(fine.phase[:, ::10], coarse.phase, atol=1e-12)
    np.testing.assert_allclose(fine.dissipation.sum(-1), coarse.dissipation.sum(-1), atol=1e-14)


def test_only_strain_along_the_easy_axis_and_volume_drive_the_change():
    """kappa - the force - reads S11 alone: shear never transforms, whatever its size."""
    shear = np.zeros((5, 3, 3))
    shear[:, 0, 1] = shear[:, 1, 0] = np.linspace(0, 1, 5)
    assert (el.respond(shear).phase == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_sawtooth_paths(seed):
    e11 = el.sawtooth(200, seed=seed)
    np.testing.assert_array_equal(e11, el.sawtooth(200, seed=seed))
    assert (e11[:, [0, -1]] == 0).all()
    assert (e11 <= 0).all()
    step = np.diff(e11, axis=1)
    turning = step[:, 1:] * step[:, :-1] < 0
    cycles = (turning.sum(1) + 1) / 2
    assert set(cycles) == {2, 3, 4}
    # A turning point that is a sample is an extremum of the path: a peak is as deep as drawn.
    peaks = -e11[:, 1:-1][turning & (step[:, :-1] < 0)]
    assert 0.05 <= peaks.min() < 0.06
    assert 0.24 < peaks.max() <= 0.25
    # The mean of n uniform numbers lies within 4 standard errors of 0.15.
    assert abs(peaks.mean() - 0.15) < 4 * 0.2 / np.sqrt(12 * len(peaks))
    # Straight ramps: the slope changes nowhere else.
    bent = np.abs(np.diff(step, axis=1)) > 1e-12
    assert (bent == turning).all()
    # Every path ends with the first phase alone, so its work is what it dissipates.
    assert np.abs(el.respond(el.uniaxial(e11)).phase[:, -1]).max() < 1e-12


def test_paths_below_the_threshold_stay_elastic():
    peaks = 0.02, -el.FORWARD_STRAINS[0]
    e11 = el.sawtooth(200, peaks=peaks, seed=1)
    assert 0.02 <= -e11.min(axis=1).max() <= peaks[1]
    response = el.respond(el.uniaxial(e11))
    assert np.abs(response.phase).max() < 1e-12
    # The same paths as those with other peaks, less deep: the same draws.
    assert ((e11 == 0) == (el.sawtooth(200, seed=1) == 0)).all()


@pytest.mark.parametrize(
    ("strain", "message"),
    [
        (np.zeros((4, 2, 2)), r"\(4, 2, 2\)"),
        (np.zeros((3, 3)), r"\(\*paths, times, 3, 3\)"),
        (np.full((4, 3, 3), np.nan), "finite"),
        (np.triu(np.ones((4, 3, 3))), "symmetric"),
    ],
)
def test_bad_strain_is_refused(strain, message):
    with pytest.raises(ValueError, match=message):
        el.respond(strain)


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="paths"):
        el.sawtooth(0)
    with pytest.raises(ValueError, match="points"):
        el.sawtooth(5, points=10)
    for peaks in ((0.0, 0.1), (0.2, 0.1), (0.1, np.nan)):
        with pytest.raises(ValueError, match="peaks must be a range"):
            el.sawtooth(5, peaks=peaks)
