"""Figures of fits: parity and history."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba_array

from lse_vi import LSEICNN, FewestModes, LevenbergMarquardt, fit_potential
from lse_vi.plots import COLORS, plot_history, plot_parity


class TestParity:
    def test_the_legend_gives_r2_and_the_diagonal_spans_both(self, draw, legend):
        rng = np.random.default_rng(0)
        exact = rng.normal(size=(200, 2)) * [1.0, 3.0]
        predicted = exact + 0.1 * rng.normal(size=(200, 2))
        ax = plot_parity(exact, torch.as_tensor(predicted), labels=["a", "b"])
        draw(ax)
        r2 = 1 - ((predicted - exact) ** 2).sum(0) / ((exact - exact.mean(0)) ** 2).sum(0)
        *named, diagonal = legend(ax)
        assert diagonal == "predicted = exact"
        for text, name, value in zip(named, "ab", r2, strict=True):
            assert text.startswith(f"{name}, $R^2$ = ")
            assert float(text.split("= ")[1]) == pytest.approx(value, rel=1e-3)
        assert ax.get_xlim() == ax.get_ylim()
        assert ax.get_xlim()[0] < exact.min() < exact.max() < ax.get_xlim()[1]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("exact", "predicted")

    def test_points_are_drawn_where_they_are_in_the_colour_of_their_series(self, drawn_points):
        """Mixed, so that no series covers another."""
        exact, predicted = (
            [[1.0, 7.0], [2.0, 8.0], [4.0, 9.0]],
            [[1.0, 7.5], [2.5, 8.0], [4.0, 9.0]],
        )
        ax = plot_parity(exact, torch.tensor(predicted, requires_grad=True))  # as fits give it
        points = drawn_points(ax)
        expected = np.stack([np.ravel(exact), np.ravel(predicted)], -1)
        assert np.array_equal(points[points[:, 0].argsort()], expected[expected[:, 0].argsort()])
        colors = [COLORS[int(x > 5)] for x in points[:, 0]]
        assert np.array_equal(ax.collections[-1].get_facecolors(), to_rgba_array(colors))

    def test_a_perfect_prediction_and_one_worse_than_the_mean(self, legend):
        assert legend(plot_parity([0.0, 1.0], [0.0, 1.0]))[0] == "$R^2$ = 1.00"
        assert legend(plot_parity([0.0, 1.0], [1.0, 0.0]))[0] == "$R^2$ = -3.00"

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
    def test_losses_on_the_left_and_modes_on_the_right(self, draw, legend, curve):
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

    def test_steps_are_counted_where_none_are_given(self, curve):
        assert curve(plot_history({"loss": [3.0, 2.0]}), "loss")[:, 0].tolist() == [0.0, 1.0]

    def test_a_curve_that_was_never_measured_is_left_out(self, legend):
        ax = plot_history({"loss": [2.0, 1.0], "held_out": [float("nan")] * 2})
        assert legend(ax) == ["loss"]

    @pytest.mark.parametrize(
        ("loss", "scale"),
        [([1.0, 1e-4], "log"), ([1.0, 0.5], "linear"), ([1.0, -1e-4], "linear")],
    )
    def test_the_scale_is_logarithmic_over_decades(self, loss, scale, draw):
        ax = plot_history({"loss": loss})
        draw(ax)
        assert ax.get_yscale() == scale

    @pytest.mark.parametrize("discovery", [None, FewestModes()])
    def test_the_fit_of_a_potential(self, discovery, draw, legend, curve):
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

    def test_lines_of_the_caller_stay_out_of_the_legend(self, legend):
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
