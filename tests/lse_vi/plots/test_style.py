"""One look for all figures: contrast, colours that stay apart, legends and labels of every plot."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb, to_rgba

from data_gen.superelastic import Wire
from lse_vi import LSEDensity, fit_density, fit_memory, fit_posterior, plots
from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.plots import COLORS, STYLE, plot_density, plot_history, plot_parity, plot_potential
from lse_vi.plots.style import BLACK, FIT, GREY, HEIGHTS, legend_below, save

MARKS = (*COLORS, FIT, GREY, BLACK)
# What eyes without the red or the green pigment see, for linear RGB (Machado et al. 2009).
SIGHT = {
    "all pigments": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip
# From linear RGB to the cones, and from their cube roots to lightness and hue (OKLab, Ottosson).
CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
OKLAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(color):
    """To white, as the Web Content Accessibility Guidelines define it."""
    return 1.05 / (linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05)


def look(color, sight):
    seen = np.clip(np.array(SIGHT[sight]) @ linear(color), 0, 1)
    return np.array(OKLAB) @ np.cbrt(np.array(CONES) @ seen)


class TestColours:
    @pytest.mark.parametrize("color", MARKS)
    def test_marks_show_on_white(self, color):
        assert contrast(color) >= 3

    def test_lines_of_any_height_show_on_white(self):
        assert min(contrast(HEIGHTS(h)) for h in np.linspace(0, 1, 64)) >= 3

    def test_heights_are_ordered_by_lightness(self):
        light = [look(HEIGHTS(h), "all pigments")[0] for h in np.linspace(0, 1, 64)]
        assert min(np.diff(light)) > 0

    @pytest.mark.parametrize("sight", SIGHT)
    def test_any_two_stay_apart(self, sight):
        """The colours of Okabe and Ito, beside the same greys, are 0.061 apart."""
        pairs = itertools.combinations(MARKS, 2)
        gaps = {(a, b): np.linalg.norm(look(a, sight) - look(b, sight)) for a, b in pairs}
        assert min(gaps.values()) > 0.07, min(gaps, key=gaps.get)


# -- every public plot ----------------------------------------------------------------------------


def posterior():
    x = torch.cat([torch.randn(20) - 3, torch.randn(20) + 3])
    return fit_posterior(x, modes=2, guide="laplace", hidden=(), draws=40, progress=False)


def over_time():
    return fit_density(torch.randn(40, 2, 1), modes=1, steps=10, polish=0, progress=False)


def loops():
    return fit_memory(Wire().tests(1, seed=0), progress=False)


def chains_of(guide):
    draws = guide.guide.values(guide.guide.get_posterior().sample((60,)))
    return {name: value.unflatten(0, (3, 20)) for name, value in draws.items()}


FIGURES = {
    "plot_density": lambda wells, guide: plot_density(LSEDensity(wells(1)), torch.randn(30)),
    "plot_density in the plane": lambda wells, guide: plot_density(
        LSEDensity(wells(2)), torch.randn(30, 2), grid=40
    ),
    "plot_potential": lambda wells, guide: plot_potential(wells(1), data=torch.randn(30)),
    "plot_potential in the plane": lambda wells, guide: plot_potential(
        wells(2), data=torch.randn(30, 2), grid=40
    ),
    "plot_surface": lambda wells, guide: plots.plot_surface(wells(2), bounds=(-4, 4), grid=20),
    "plot_parity": lambda wells, guide: plot_parity([0.0, 1.0, 3.0], [0.1, 1.0, 3.0]),
    "plot_history": lambda wells, guide: plot_history({"loss": [2, 1], "active_modes": [1, 2]}),
    "plot_posterior": lambda wells, guide: plots.plot_posterior(posterior()),
    "plot_check": lambda wells, guide: plots.plot_check(posterior(), replicates=20),
    "plot_mode_count": lambda wells, guide: plots.plot_mode_count(ModeCount({2: posterior()})),
    "plot_over_time": lambda wells, guide: plots.plot_over_time(over_time()),
    "plot_loops": lambda wells, guide: plots.plot_loops(loops()),
    "plot_chains": lambda wells, guide: plots.plot_chains(guide, chains_of(guide)),
    "plot_pairs": lambda wells, guide: plots.plot_pairs(guide, draws=50),
    "plot_mode_weights": lambda wells, guide: plots.plot_mode_weights(guide),
}
# Whose marks need no names: bars over the number of their mode, panels of a guide of one variable.
UNNAMED = {"plot_mode_weights", "plot_pairs"}


def drawn(ax):
    """Labels of the lines, marks and bands of ``ax``, with their colours."""
    for bars in ax.containers:
        for part in bars.get_children():
            if isinstance(part, plt.Line2D):
                yield bars.get_label(), to_rgba(part.get_color())
    for line in ax.get_lines():
        yield line.get_label(), to_rgba(line.get_color())
    for part in ax.collections:
        faces = part.get_facecolor() if len(part.get_facecolor()) else part.get_edgecolor()
        yield part.get_label(), tuple(faces[0])


def overlap(a, b):
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@pytest.mark.parametrize("name", FIGURES)
def test_every_plot_has_labels_and_a_legend_that_covers_nothing(name, wells, guide, draw):
    made = FIGURES[name](wells, guide)
    figure = getattr(made, "figure", made)
    figure.canvas.draw()
    legends = list(figure.legends)
    for ax in figure.axes:
        # A colour bar has one axis, panels of pairs and twins share the horizontal one; axes in
        # three dimensions count as switched off.
        assert not ax.axison or ax.get_xlabel() or ax.get_ylabel()
        if ax.get_legend():
            legends.append(ax.get_legend())
    assert name in UNNAMED or legends
    for legend in legends:
        box = legend.get_window_extent()
        for ax in figure.axes:
            if ax.axison:
                assert not overlap(box, ax.get_window_extent())
                assert not overlap(box, ax.xaxis.label.get_window_extent())
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_every_public_plot_is_among_them():
    assert {name for name in plots.__all__ if name.startswith("plot")} == {
        name.split(" ")[0] for name in FIGURES
    }


@pytest.mark.parametrize("name", ["plot_density", "plot_potential", "plot_check", "plot_posterior"])
def test_every_mark_is_in_the_legend(name, wells, guide):
    ax = FIGURES[name](wells, guide)
    named = {text.get_text() for text in ax.get_legend().get_texts()}
    unnamed = [color for label, color in drawn(ax) if label not in named]
    known = {color[:3] for label, color in drawn(ax) if label in named}
    assert [color for color in unnamed if color[:3] not in known] == []


# -- the rest -------------------------------------------------------------------------------------


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
    """No frames; the colours of the library also order any further curves."""
    for ax in (plot_density(LSEDensity(wells(1))), plot_potential(wells(1), bounds=(-1, 1))):
        assert not ax.spines["top"].get_visible()
        assert not ax.get_legend().get_frame_on()
    assert [entry["color"] for entry in STYLE["axes.prop_cycle"]] == list(COLORS)
    top = next(o for o in plot_history({"loss": [2, 1], "active_modes": [2, 1]}).figure.axes[1:])
    assert top.spines["right"].get_visible()


def test_without_a_layout_a_legend_stays_inside():
    """Below the axes it would be cut off."""
    figure, ax = plt.subplots()
    ax.plot([0, 1], label="line")
    box = legend_below(ax).get_window_extent()
    figure.canvas.draw()
    assert overlap(box, ax.get_window_extent())


def test_figures_are_saved_for_screen_and_print(tmp_path):
    figure, _ = plt.subplots()
    save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
    assert plt.get_fignums() == []
