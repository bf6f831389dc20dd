"""Figures of densities: what they show is right, they can be read without the code."""

import matplotlib
import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from lse_vi import LSEICNN, LSEDensity, WhitenedICNN
from lse_vi.plots import COLORS, GREY, NAMED, plot_density


def test_a_curve_is_the_normalised_density_over_nearly_all_of_its_mass(wells, draw, curve):
    ax = plot_density(LSEDensity(wells(1)))
    draw(ax)
    x, q = curve(ax, "density $q$").T
    assert trapezoid(q, x) == pytest.approx(1.0, abs=2e-3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x$", "density $q(x)$")


def test_shares_add_up_to_the_density_and_carry_their_weights(wells, legend, curve):
    density = LSEDensity(wells(1, modes=3, spread=2.0))
    ax = plot_density(density)
    labels = [f"mode {k}, weight {w:.2f}" for k, w in enumerate(density.mode_weights)]
    assert legend(ax) == [*labels, "density $q$"]
    masses = [trapezoid(y, x) for x, y in (curve(ax, label).T for label in labels)]
    assert masses == pytest.approx(density.mode_weights.tolist(), abs=2e-3)


def test_beside_strays_and_in_a_wide_box_modes_are_no_needles(wells, curve, legend):
    """The window is close enough, and the legend counts what it leaves out."""
    data = torch.cat([LSEDensity(wells(1)).sample((300,)), torch.tensor([[900.0], [-5e3]])])
    for density in (LSEDensity(wells(1)), LSEDensity(wells(1), (-1e5, 1e5))):
        ax = plot_density(density, data)
        x, q = curve(ax, "density $q$").T
        assert trapezoid(q, x) == pytest.approx(1.0, abs=2e-3)
        assert legend(ax)[0] == "data, 2 of 302 outside"
        area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)
        assert area == pytest.approx(300 / 302)


def test_a_broad_mode_beyond_the_window_has_no_cross_at_its_edge():
    """A background, as wide as strays are far: its peak is not in the figure."""
    pot = LSEICNN(2, 2, hidden=(), rho=1.0, network=WhitenedICNN)
    centers = torch.tensor([[0.0, 0.0], [400.0, -300.0]])
    pot.network.reset_parameters(centers, torch.diag_embed(torch.tensor([[1.0, 1.0], [2e-3] * 2])))
    pot.network.add_offset_(torch.tensor([0.0, np.log(60 * 500**2)]))  # 1.6 % of the mass
    ax = plot_density(LSEDensity(pot))
    assert [text.get_text()[:2] for text in ax.texts] == ["0:"]


def test_data_are_a_histogram_and_ticks_where_there_are_few(wells, draw, legend):
    density = LSEDensity(wells(1))
    few, many = density.sample((50,)), density.sample((500,))
    for data, ticks in ((few, 1), (many, 0), (many.squeeze(-1).numpy(), 0)):
        ax = plot_density(density, data)
        draw(ax)
        assert legend(ax)[0] == "data"
        area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)
        assert area == pytest.approx(1.0)
        assert sum(line.get_marker() == "|" for line in ax.get_lines()) == ticks


def test_modes_without_weight_are_left_out(wells, legend):
    pot = wells(1, modes=3)
    with torch.no_grad():
        pot.alpha[1] = -18.0
    assert [label[:6] for label in legend(plot_density(LSEDensity(pot)))[:2]] == [
        "mode 0",
        "mode 2",
    ]


def test_only_the_heaviest_modes_are_named(wells, draw, legend):
    density = LSEDensity(wells(1, modes=NAMED + 2))
    ax = plot_density(density)
    draw(ax)
    assert len(legend(ax)) == NAMED + 1
    assert len(ax.get_lines()) == NAMED + 3


def test_on_a_box_the_window_is_the_box_to_the_last_bit(curve):
    low, high = -0.1, 0.2  # low + (high - low) rounds to more than high
    assert low + (high - low) > high
    pot = LSEICNN(1, 2, rho=1.0)
    x = curve(plot_density(LSEDensity(pot, bounds=(low, high), validate_args=True)), "density $q$")
    assert (x[0, 0], x[-1, 0]) == (low, high)


def test_in_two_dimensions_data_wear_the_colour_of_their_mode(wells, draw, legend):
    density = LSEDensity(wells(2, spread=8.0))
    data = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [4.5, 0.5]])
    ax = plot_density(density, data, grid=60)
    draw(ax)
    dots = next(p for p in ax.collections if len(p.get_offsets()) == 3)
    owner = density.potential.responsibilities(data).argmax(-1)
    expected = matplotlib.colors.to_rgba_array([COLORS[k] for k in owner])
    assert len(set(owner.tolist())) == 2
    assert np.array_equal(dots.get_facecolors(), expected)
    assert legend(ax) == ["data, in the colour of their mode", "mode: weight"]


def test_in_two_dimensions_each_mode_is_marked_at_its_peak_with_its_weight(
    wells, draw, drawn_points
):
    density = LSEDensity(wells(2, spread=8.0))
    ax = plot_density(density, grid=100)
    draw(ax)
    where = drawn_points(ax)
    starts = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
    minima = density.potential.minima(starts).points
    assert np.sort(where[:, 0]) == pytest.approx(minima[:, 0].sort()[0].numpy(), abs=0.2)
    expected = [f"{k}: {w:.2f}" for k, w in enumerate(density.mode_weights)]
    assert sorted(text.get_text() for text in ax.texts) == expected
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    colorbar = next(other for other in ax.figure.axes if other is not ax)
    assert colorbar.get_ylabel() == "density $q(x)$"


def test_a_point_of_a_mode_without_weight_is_grey(wells):
    pot = wells(2, modes=3, spread=8.0)
    with torch.no_grad():
        pot.alpha[2] = 0.5  # a weight below 1 %, still responsible at its centre
    ax = plot_density(LSEDensity(pot), torch.tensor([[8.0, 0.0], [0.0, 0.0]]), grid=30)
    dots = next(p for p in ax.collections if len(p.get_offsets()) == 2)
    expected = matplotlib.colors.to_rgba_array([GREY, COLORS[1]])
    assert np.array_equal(dots.get_facecolors(), expected)


def test_a_batch_is_refused_with_the_way_out():
    pot = LSEICNN(1, 2, batch_shape=(3,), rho=1.0, network=WhitenedICNN)
    with pytest.raises(ValueError, match=r"density .* batch_shape is \(3,\).*select"):
        plot_density(LSEDensity(pot))


def test_more_than_two_dimensions_are_refused(wells):
    with pytest.raises(ValueError, match=r"density must have 1 or 2 dimensions .* has 3"):
        plot_density(LSEDensity(wells(3)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(5, 2), r"data must have last dimension 1 .* \(5, 2\)"),
        (torch.tensor([0.0, torch.nan]), "data must be finite"),
        (torch.zeros(0, 1), "data is empty"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, message, wells):
    with pytest.raises(ValueError, match=message):
        plot_density(LSEDensity(wells(1)), data)
