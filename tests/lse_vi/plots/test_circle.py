"""Figures of what is periodic: one period, and what is at the seam is there."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from lse_vi import LSEICNN, LSEDensity, WhitenedICNN, fit_density
from lse_vi.plots import plot_density, plot_potential, plot_surface

TURN = 360.0


def three_wells(dim=1, period=TURN):
    pot = LSEICNN(dim, 3, hidden=(), rho=1.0, network=WhitenedICNN, period=period)
    at = torch.tensor([[-TURN / 6], [TURN / 6], [TURN / 2]]).expand(3, dim)
    pot.network.reset_parameters(at, torch.eye(dim).expand(3, dim, dim) / 20.0)
    return pot


def test_a_density_is_drawn_over_one_period_and_data_are_taken_into_it(curve, legend):
    q = LSEDensity(three_wells())
    data = q.sample((400,)) + 5 * TURN
    ax = plot_density(q, data)
    x, height = curve(ax, "density $q$").T
    assert (x[0], x[-1]) == (-TURN / 2, TURN / 2)
    assert trapezoid(height, x) == pytest.approx(1.0, abs=1e-6)
    assert height[0] == pytest.approx(height[-1])
    assert legend(ax)[0] == "data"
    bars = ax.patches
    assert bars[0].get_x() == -TURN / 2
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1.0)


def test_a_peak_at_the_seam_has_its_cross(drawn_points):
    ax = plot_density(LSEDensity(three_wells(2, (TURN, None))))
    assert np.isclose(np.abs(drawn_points(ax)[:, 0]), 180.0).any()
    assert len(ax.texts) == 3


def test_minima_at_the_seam_are_seen_and_no_window_is_needed(drawn_points):
    pot = three_wells()
    at = np.sort(drawn_points(plot_potential(pot))[:, 0])
    assert len(at) in (3, 4)  # the one at the seam is drawn at an end, or at both
    assert {round(abs(x)) for x in at} == {60, 180}
    two = np.sort(drawn_points(plot_potential(pot, bounds=(-200, 520)))[:, 0])
    assert two == pytest.approx([-180, -60, 60, 180, 300, 420], abs=1e-3)


def test_a_surface_over_an_angle_and_a_length():
    ax = plot_surface(three_wells(2, (TURN, None)), data=torch.randn(30, 2) * 100, grid=30)
    assert math.isclose(ax.get_xlim()[1], 180, rel_tol=0.2)


def test_a_result_is_drawn_with_the_names_of_its_data():
    import pandas as pd

    torch.manual_seed(0)
    table = pd.DataFrame({"angle": (torch.randn(60) * 20 + 180).numpy()})
    res = fit_density(table, period=360, modes=1, steps=20, polish=0, progress=False)
    assert plot_density(res, table).get_xlabel() == "angle"
