"""One look for all figures."""

import matplotlib.pyplot as plt
import pytest

from lse_vi import LSEDensity
from lse_vi.plots import COLORS, STYLE, plot_density, plot_history, plot_parity, plot_potential


@pytest.mark.parametrize(
    "plot",
    [
        lambda ax, pot: plot_density(LSEDensity(pot), ax=ax),
        lambda ax, pot: plot_potential(pot, bounds=(-1, 1), ax=ax),
        lambda ax, pot: plot_history({"loss": [2.0, 1.0]}, ax=ax),
        lambda ax, pot: plot_parity([0.0, 1.0], [0.1, 1.0], ax=ax),
    ],
)
def test_figures_are_drawn_into_the_axes_given(plot, wells):
    _, axes = plt.subplots(1, 2)
    assert plot(axes[1], wells(1)) is axes[1]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("grid", [1, 0])
def test_a_grid_has_at_least_two_points(grid, wells):
    with pytest.raises(ValueError, match="grid must be at least 2"):
        plot_density(LSEDensity(wells(1)), grid=grid)
    with pytest.raises(ValueError, match="grid must be at least 2"):
        plot_potential(wells(1), bounds=(-1, 1), grid=grid)


def test_figures_have_one_style(wells):
    """No frames; the colours are those of Okabe & Ito, which also order any further curves."""
    for ax in (plot_density(LSEDensity(wells(1))), plot_potential(wells(1), bounds=(-1, 1))):
        assert not ax.spines["top"].get_visible()
        assert not ax.get_legend().get_frame_on()
    assert [entry["color"] for entry in STYLE["axes.prop_cycle"]] == list(COLORS)
    top = next(o for o in plot_history({"loss": [2, 1], "active_modes": [2, 1]}).figure.axes[1:])
    assert top.spines["right"].get_visible()
