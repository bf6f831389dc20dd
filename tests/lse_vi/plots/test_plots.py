"""Figures: what they show is right, they can be read without the code, and nothing warns."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from scipy.integrate import trapezoid

from lse_vi import (
    LSEICNN,
    FewestModes,
    LevenbergMarquardt,
    LSEDensity,
    WhitenedICNN,
    fit_potential,
)
from lse_vi.plots import (
    COLORS,
    GREY,
    NAMED,
    STYLE,
    plot_density,
    plot_history,
    plot_parity,
    plot_potential,
    plot_surface,
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def wells(dim: int, modes: int = 2, spread: float = 4.0) -> LSEICNN:
    """Modes of nearly equal weight, ``spread`` apart on the first axis."""
    pot = LSEICNN(dim, modes, rho=1.0, network=WhitenedICNN)
    centers = torch.zeros(modes, dim)
    centers[:, 0] = spread * (torch.arange(modes) - (modes - 1) / 2)
    pot.network.reset_parameters(centers)
    return pot


def draw(ax: plt.Axes) -> None:
    """Render the figure, where matplotlib does most of its work and its warning."""
    ax.figure.canvas.draw()


def legend(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def curve(ax: plt.Axes, label: str) -> np.ndarray:
    """The points (n, 2) of the one line with this label."""
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line.get_xydata()


def drawn_points(ax: plt.Axes) -> np.ndarray:
    """The centres of all markers of all scatters, (n, 2)."""
    scatters = [part for part in ax.collections if isinstance(part, PathCollection)]
    return np.concatenate([np.asarray(part.get_offsets()) for part in scatters])


class TestDensity:
    def test_a_curve_is_the_normalised_density_over_nearly_all_of_its_mass(self):
        ax = plot_density(LSEDensity(wells(1)))
        draw(ax)
        x, q = curve(ax, "density $q$").T
        assert trapezoid(q, x) == pytest.approx(1.0, abs=2e-3)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x$", "density $q(x)$")

    def test_shares_add_up_to_the_density_and_carry_their_weights(self):
        density = LSEDensity(wells(1, modes=3, spread=2.0))
        ax = plot_density(density)
        labels = [f"mode {k}, weight {w:.2f}" for k, w in enumerate(density.mode_weights)]
        assert legend(ax) == [*labels, "density $q$"]
        masses = [trapezoid(y, x) for x, y in (curve(ax, label).T for label in labels)]
        assert masses == pytest.approx(density.mode_weights.tolist(), abs=2e-3)

    def test_data_are_a_histogram_and_ticks_where_there_are_few(self):
        density = LSEDensity(wells(1))
        few, many = density.sample((50,)), density.sample((500,))
        for data, ticks in ((few, 1), (many, 0), (many.squeeze(-1).numpy(), 0)):
            ax = plot_density(density, data)
            draw(ax)
            assert legend(ax)[0] == "data"
            area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)
            assert area == pytest.approx(1.0)
            assert sum(line.get_marker() == "|" for line in ax.get_lines()) == ticks

    def test_modes_without_weight_are_left_out(self):
        pot = wells(1, modes=3)
        with torch.no_grad():
            pot.alpha[1] = -18.0
        assert [label[:6] for label in legend(plot_density(LSEDensity(pot)))[:2]] == [
            "mode 0",
            "mode 2",
        ]

    def test_only_the_heaviest_modes_are_named(self):
        density = LSEDensity(wells(1, modes=NAMED + 2))
        ax = plot_density(density)
        draw(ax)
        assert len(legend(ax)) == NAMED + 1
        assert len(ax.get_lines()) == NAMED + 3

    def test_on_a_box_the_window_is_the_box_to_the_last_bit(self):
        low, high = -0.1, 0.2  # low + (high - low) rounds to more than high
        assert low + (high - low) > high
        pot = LSEICNN(1, 2, rho=1.0)
        x = curve(
            plot_density(LSEDensity(pot, bounds=(low, high), validate_args=True)), "density $q$"
        )
        assert (x[0, 0], x[-1, 0]) == (low, high)

    def test_in_two_dimensions_data_wear_the_colour_of_their_mode(self):
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

    def test_in_two_dimensions_each_mode_is_marked_at_its_peak_with_its_weight(self):
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

    def test_a_point_of_a_mode_without_weight_is_grey(self):
        pot = wells(2, modes=3, spread=8.0)
        with torch.no_grad():
            pot.alpha[2] = 0.5  # a weight below 1 %, still responsible at its centre
        ax = plot_density(LSEDensity(pot), torch.tensor([[8.0, 0.0], [0.0, 0.0]]), grid=30)
        dots = next(p for p in ax.collections if len(p.get_offsets()) == 2)
        expected = matplotlib.colors.to_rgba_array([GREY, COLORS[1]])
        assert np.array_equal(dots.get_facecolors(), expected)

    def test_a_batch_is_refused_with_the_way_out(self):
        pot = LSEICNN(1, 2, batch_shape=(3,), rho=1.0, network=WhitenedICNN)
        with pytest.raises(ValueError, match=r"density .* batch_shape is \(3,\).*select"):
            plot_density(LSEDensity(pot))

    def test_more_than_two_dimensions_are_refused(self):
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
    def test_data_that_do_not_fit_are_refused(self, data, message):
        with pytest.raises(ValueError, match=message):
            plot_density(LSEDensity(wells(1)), data)


class TestPotential:
    def test_curve_modes_and_minima(self):
        pot = wells(1)
        ax = plot_potential(pot, bounds=(-4, 4))
        draw(ax)
        assert legend(ax) == ["potential $E$", "mode 0", "mode 1", "minima of $E$"]
        x, energy = curve(ax, "potential $E$").T
        assert energy == pytest.approx(pot(torch.as_tensor(x[:, None])).detach().numpy())
        minima = pot.minima(torch.linspace(-4, 4, 20)[:, None])
        expected = torch.cat([minima.points, minima.energies[:, None]], -1).numpy()
        assert np.sort(drawn_points(ax), 0) == pytest.approx(np.sort(expected, 0), abs=1e-6)

    def test_modes_lie_above_the_potential_and_touch_it_where_alone(self):
        ax = plot_potential(wells(1, spread=8.0), bounds=(-6, 6))
        energy = curve(ax, "potential $E$")[:, 1]
        modes = np.stack([curve(ax, f"mode {k}")[:, 1] for k in range(2)])
        gap = modes - energy
        assert gap.min() > -1e-9
        assert gap[:, [0, -1]].min(0) == pytest.approx([0.0, 0.0], abs=1e-9)
        assert (gap.min(0) <= np.log(2) + 1e-9).all()

    def test_minima_outside_the_window_are_not_drawn(self):
        ax = plot_potential(wells(1), bounds=(0, 4))
        assert (drawn_points(ax)[:, 0] > 0).all()
        assert len(drawn_points(ax)) == 1

    def test_lines_and_minima_in_two_dimensions(self):
        ax = plot_potential(wells(2, spread=8.0), bounds=((-8, -3), (8, 3)), grid=60)
        draw(ax)
        assert np.sort(drawn_points(ax)[:, 0]) == pytest.approx([-4.0, 4.0], abs=0.5)
        assert legend(ax) == ["minima of $E$"]
        assert (ax.get_xlim(), ax.get_ylim()) == ((-8.0, 8.0), (-3.0, 3.0))
        colorbar = next(other for other in ax.figure.axes if other is not ax)
        assert colorbar.get_ylabel() == "potential $E(x)$"

    @pytest.mark.parametrize("dim", [1, 2])
    def test_data_set_the_window_and_are_shown(self, dim):
        data = torch.linspace(-3, 5, 10)[:, None].expand(10, dim)
        ax = plot_potential(wells(dim), data=data, grid=50)
        draw(ax)
        assert "data" in legend(ax)
        low, high = ax.get_xlim()
        assert low < -3 < 5 < high

    def test_an_empty_window_is_refused(self):
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
    def test_heights_are_the_potential_up_to_the_highest_shown(self):
        pot = wells(2, spread=6.0)
        ax = plot_surface(pot, bounds=((-5, -3), (5, 3)), grid=40, highest=0.7)
        draw(ax)
        energy = pot(torch.cartesian_prod(torch.linspace(-5, 5, 40), torch.linspace(-3, 3, 40)))
        floor, top = ax.get_zlim()
        assert top == pytest.approx(energy.quantile(0.7).item())
        assert floor < energy.min() < top
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
        assert ax.get_zlabel() == "potential $E(x)$"

    def test_minima_lie_on_the_surface(self):
        pot = wells(2, spread=6.0)
        ax = plot_surface(pot, bounds=((-5, -3), (5, 3)), grid=30)
        (marks,) = [part for part in ax.collections if part.get_label() == "minima of $E$"]
        x1, x2, height = (np.asarray(values) for values in marks._offsets3d)
        expected = pot.minima(torch.tensor([[-3.0, 0.1], [3.0, -0.1]])).points
        assert np.sort(x1) == pytest.approx(expected[:, 0].sort()[0].numpy(), abs=1e-3)
        at = torch.as_tensor(np.stack([x1, x2], -1))
        assert height == pytest.approx(pot(at).detach().numpy(), abs=1e-6)

    def test_data_set_the_window(self):
        data = torch.linspace(-3, 5, 10)[:, None].expand(10, 2)
        ax = plot_surface(wells(2), data=data, grid=20)
        low, high = ax.get_xlim()
        assert low < -3 < 5 < high

    @pytest.mark.parametrize(
        ("make", "settings", "message"),
        [
            (lambda: wells(1), {"bounds": (-1, 1)}, r"2 dimensions, but has 1; see plot_potential"),
            (lambda: wells(3), {"bounds": (-1, 1)}, r"1 or 2 dimensions .* has 3"),
            (lambda: wells(2), {}, "bounds, or data"),
            (lambda: wells(2), {"bounds": (-1, 1), "highest": 0.0}, r"highest .* got 0.0"),
        ],
    )
    def test_what_is_no_landscape_is_refused(self, make, settings, message):
        with pytest.raises(ValueError, match=message):
            plot_surface(make(), **settings)


class TestParity:
    def test_the_legend_gives_r2_and_the_diagonal_spans_both(self):
        rng = np.random.default_rng(0)
        exact = rng.normal(size=(200, 2)) * [1.0, 3.0]
        predicted = exact + 0.1 * rng.normal(size=(200, 2))
        ax = plot_parity(exact, torch.as_tensor(predicted), labels=["a", "b"])
        draw(ax)
        r2 = 1 - ((predicted - exact) ** 2).sum(0) / ((exact - exact.mean(0)) ** 2).sum(0)
        for text, name, value in zip(legend(ax), "ab", r2, strict=True):
            assert text.startswith(f"{name}, $R^2$ = ")
            assert float(text.split("= ")[1]) == pytest.approx(value, rel=1e-3)
        assert ax.get_xlim() == ax.get_ylim()
        assert ax.get_xlim()[0] < exact.min() < exact.max() < ax.get_xlim()[1]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("exact", "predicted")

    def test_points_are_drawn_where_they_are(self):
        ax = plot_parity([1.0, 2.0, 4.0], [1.0, 2.5, 4.0])
        points = [line.get_xydata() for line in ax.get_lines() if line.get_marker() == "."]
        assert np.array_equal(points[0], [[1.0, 1.0], [2.0, 2.5], [4.0, 4.0]])

    def test_a_perfect_prediction_and_one_worse_than_the_mean(self):
        assert legend(plot_parity([0.0, 1.0], [0.0, 1.0])) == ["$R^2$ = 1.00"]
        assert legend(plot_parity([0.0, 1.0], [1.0, 0.0])) == ["$R^2$ = -3.00"]

    @pytest.mark.parametrize(
        ("exact", "predicted", "settings", "message"),
        [
            ([1.0, 2.0], [1.0], {}, r"predicted must have the shape of exact, \(2, 1\)"),
            ([1.0, 2.0], [1.0, np.nan], {}, "predicted must be finite, but holds nan"),
            ([], [], {}, r"exact must have shape \(n,\) or \(n, series\), but got \(0,\)"),
            ([1.0, 1.0], [1.0, 2.0], {}, "exact must vary"),
            ([1.0, 2.0], [1.0, 2.0], {"labels": ["a", "b"]}, "labels must name 1 series"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, exact, predicted, settings, message):
        with pytest.raises(ValueError, match=message):
            plot_parity(exact, predicted, **settings)


class TestHistory:
    def test_losses_on_the_left_and_modes_on_the_right(self):
        history = {"step": [0, 10, 20], "loss": [3.0, 2.0, 1.5], "active_modes": [5, 3, 2]}
        ax = plot_history({**history, "held_out": [3.1, float("nan"), 1.7]})
        draw(ax)
        left, right = ax.figure.axes
        assert left is ax
        assert (left.get_xlabel(), left.get_ylabel()) == ("step", "loss")
        assert right.get_ylabel() == "active modes"
        assert legend(right) == ["loss", "held out", "active modes"]
        assert curve(left, "held out").tolist() == [[0.0, 3.1], [20.0, 1.7]]
        assert curve(right, "active modes")[:, 1].tolist() == [5.0, 3.0, 2.0]

    def test_steps_are_counted_where_none_are_given(self):
        assert curve(plot_history({"loss": [3.0, 2.0]}), "loss")[:, 0].tolist() == [0.0, 1.0]

    def test_a_curve_that_was_never_measured_is_left_out(self):
        ax = plot_history({"loss": [2.0, 1.0], "held_out": [float("nan")] * 2})
        assert legend(ax) == ["loss"]

    @pytest.mark.parametrize(
        ("loss", "scale"),
        [([1.0, 1e-4], "log"), ([1.0, 0.5], "linear"), ([1.0, -1e-4], "linear")],
    )
    def test_the_scale_is_logarithmic_over_decades(self, loss, scale):
        ax = plot_history({"loss": loss})
        draw(ax)
        assert ax.get_yscale() == scale

    @pytest.mark.parametrize("discovery", [None, FewestModes()])
    def test_the_fit_of_a_potential(self, discovery):
        """Its history also tells rho, gates and shares, of other units and lengths."""
        x = torch.linspace(-2, 2, 40)
        options = {"solver": LevenbergMarquardt(steps=5), "restarts": 2, "polish": 0}
        pot = LSEICNN(1, 2, hidden=(4,), batch_shape=(2,))
        fit = fit_potential(
            pot, x, value=x**4 - x**2, discovery=discovery, progress=False, **options
        )
        ax = plot_history(fit.select(1).history)
        draw(ax)
        assert legend(ax.figure.axes[1]) == ["loss", "held out", "active modes"]
        loss = [losses[1] for losses in fit.history["loss"]]
        assert curve(ax, "loss")[:, 1].tolist() == loss
        with pytest.raises(ValueError, match=r"history must be that of one fit.*select\(index\)"):
            plot_history(fit.history)

    def test_lines_of_the_caller_stay_out_of_the_legend(self):
        _, ax = plt.subplots()
        ax.axhline(1.0)
        assert legend(plot_history({"loss": [2.0, 1.0]}, ax=ax)) == ["loss"]

    @pytest.mark.parametrize(
        "history",
        [{}, {"step": [0, 1]}, {"loss": []}, {"loss": [1.0, 2.0], "step": [0]}],
    )
    def test_nothing_to_draw_is_refused(self, history):
        with pytest.raises(ValueError, match="history must hold at least one curve"):
            plot_history(history)


@pytest.mark.parametrize(
    "plot",
    [
        lambda ax: plot_density(LSEDensity(wells(1)), ax=ax),
        lambda ax: plot_potential(wells(1), bounds=(-1, 1), ax=ax),
        lambda ax: plot_history({"loss": [2.0, 1.0]}, ax=ax),
        lambda ax: plot_parity([0.0, 1.0], [0.1, 1.0], ax=ax),
    ],
)
def test_figures_are_drawn_into_the_axes_given(plot):
    _, axes = plt.subplots(1, 2)
    assert plot(axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("grid", [1, 0])
def test_a_grid_has_at_least_two_points(grid):
    with pytest.raises(ValueError, match="grid must be at least 2"):
        plot_density(LSEDensity(wells(1)), grid=grid)
    with pytest.raises(ValueError, match="grid must be at least 2"):
        plot_potential(wells(1), bounds=(-1, 1), grid=grid)


def test_figures_have_one_style():
    """No frames; the colours are those of Okabe & Ito, which also order any further curves."""
    for ax in (plot_density(LSEDensity(wells(1))), plot_potential(wells(1), bounds=(-1, 1))):
        assert not ax.spines["top"].get_visible()
        assert not ax.get_legend().get_frame_on()
    assert [entry["color"] for entry in STYLE["axes.prop_cycle"]] == list(COLORS)
    top = next(o for o in plot_history({"loss": [2, 1], "active_modes": [2, 1]}).figure.axes[1:])
    assert top.spines["right"].get_visible()
