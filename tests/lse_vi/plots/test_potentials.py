"""Figures of potentials: curves, lines, surfaces, minima and data."""

import numpy as np
import pytest
import torch

from lse_vi import LSEICNN
from lse_vi.plots import plot_potential, plot_surface


class TestPotential:
    def test_curve_modes_and_minima(self, wells, draw, legend, curve, drawn_points):
        pot = wells(1)
        ax = plot_potential(pot, bounds=(-4, 4))
        draw(ax)
        assert legend(ax) == ["potential $E$", "mode 0", "mode 1", "minima of $E$"]
        x, energy = curve(ax, "potential $E$").T
        assert energy == pytest.approx(pot(torch.as_tensor(x[:, None])).detach().numpy())
        minima = pot.minima(torch.linspace(-4, 4, 20)[:, None])
        expected = torch.cat([minima.points, minima.energies[:, None]], -1).numpy()
        assert np.sort(drawn_points(ax), 0) == pytest.approx(np.sort(expected, 0), abs=1e-6)

    def test_modes_lie_above_the_potential_and_touch_it_where_alone(self, wells, curve):
        ax = plot_potential(wells(1, spread=8.0), bounds=(-6, 6))
        energy = curve(ax, "potential $E$")[:, 1]
        modes = np.stack([curve(ax, f"mode {k}")[:, 1] for k in range(2)])
        gap = modes - energy
        assert gap.min() > -1e-9
        assert gap[:, [0, -1]].min(0) == pytest.approx([0.0, 0.0], abs=1e-9)
        assert (gap.min(0) <= np.log(2) + 1e-9).all()

    def test_minima_outside_the_window_are_not_drawn(self, wells, drawn_points):
        ax = plot_potential(wells(1), bounds=(0, 4))
        assert (drawn_points(ax)[:, 0] > 0).all()
        assert len(drawn_points(ax)) == 1

    def test_lines_and_minima_in_two_dimensions(self, wells, draw, legend, drawn_points):
        ax = plot_potential(wells(2, spread=8.0), bounds=((-8, -3), (8, 3)), grid=60)
        draw(ax)
        assert np.sort(drawn_points(ax)[:, 0]) == pytest.approx([-4.0, 4.0], abs=0.5)
        assert legend(ax) == ["minima of $E$"]
        assert (ax.get_xlim(), ax.get_ylim()) == ((-8.0, 8.0), (-3.0, 3.0))
        colorbar = next(other for other in ax.figure.axes if other is not ax)
        assert colorbar.get_ylabel() == "potential $E(x)$"

    @pytest.mark.parametrize("dim", [1, 2])
    def test_data_set_the_window_and_are_shown(self, dim, wells, draw, legend):
        data = torch.linspace(-3, 5, 10)[:, None].expand(10, dim)
        ax = plot_potential(wells(dim), data=data, grid=50)
        draw(ax)
        assert "data" in legend(ax)
        low, high = ax.get_xlim()
        assert low < -3 < 5 < high

    def test_an_empty_window_is_refused(self, wells):
        with pytest.raises(ValueError, match=r"bounds, or data .* but got neither"):
            plot_potential(wells(1))
        with pytest.raises(ValueError, match=r"bounds, or data that vary .* ranges \[0\.\]"):
            plot_potential(wells(1), data=torch.ones(4))
        with pytest.raises(ValueError, match="bounds must have low < high"):
            plot_potential(wells(1), bounds=(1, -1))

    def test_a_batch_and_more_dimensions_are_refused(self):
        with pytest.raises(ValueError, match=r"potential .* batch_shape is \(3,\).*select"):
            plot_potential(LSEICNN(1, 2, batch_shape=(3,)), bounds=(-1, 1))
        with pytest.raises(ValueError, match=r"potential must have 1 or 2 dimensions .* has 3"):
            plot_potential(LSEICNN(3, 2), bounds=(-1, 1))


class TestSurface:
    def test_heights_are_the_potential_up_to_the_highest_shown(self, wells, draw):
        pot = wells(2, spread=6.0)
        ax = plot_surface(pot, bounds=((-5, -3), (5, 3)), grid=40, highest=0.7)
        draw(ax)
        energy = pot(torch.cartesian_prod(torch.linspace(-5, 5, 40), torch.linspace(-3, 3, 40)))
        floor, top = ax.get_zlim()
        assert top == pytest.approx(energy.quantile(0.7).item())
        assert floor < energy.min() < top
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
        assert ax.get_zlabel() == "potential $E(x)$"

    def test_minima_lie_on_the_surface(self, wells):
        pot = wells(2, spread=6.0)
        ax = plot_surface(pot, bounds=((-5, -3), (5, 3)), grid=30)
        (marks,) = [part for part in ax.collections if part.get_label() == "minima of $E$"]
        x1, x2, height = (np.asarray(values) for values in marks._offsets3d)
        expected = pot.minima(torch.tensor([[-3.0, 0.1], [3.0, -0.1]])).points
        assert np.sort(x1) == pytest.approx(expected[:, 0].sort()[0].numpy(), abs=1e-3)
        at = torch.as_tensor(np.stack([x1, x2], -1))
        assert height == pytest.approx(pot(at).detach().numpy(), abs=1e-6)

    def test_data_set_the_window(self, wells):
        data = torch.linspace(-3, 5, 10)[:, None].expand(10, 2)
        ax = plot_surface(wells(2), data=data, grid=20)
        low, high = ax.get_xlim()
        assert low < -3 < 5 < high

    @pytest.mark.parametrize(
        ("dim", "settings", "message"),
        [
            (1, {"bounds": (-1, 1)}, r"2 dimensions, but has 1; see plot_potential"),
            (3, {"bounds": (-1, 1)}, r"1 or 2 dimensions .* has 3"),
            (2, {}, "bounds, or data"),
            (2, {"bounds": (-1, 1), "highest": 0.0}, r"highest .* got 0.0"),
        ],
    )
    def test_what_is_no_landscape_is_refused(self, dim, settings, message, wells):
        with pytest.raises(ValueError, match=message):
            plot_surface(wells(dim), **settings)
