"""Figures of a density's posterior show what the posterior says, and nothing warns."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lse_vi import fit_posterior
from lse_vi.bayesian.mode_count import ModeCount
from lse_vi.plots import plot_check, plot_mode_count, plot_posterior


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fit(dim=1, modes=2):
    x = torch.cat([torch.randn(30, dim) - 3, torch.randn(30, dim) + 3])
    return fit_posterior(x, modes=modes, guide="laplace", hidden=(), draws=60, progress=False)


def line(ax, label):
    (found,) = [part for part in ax.get_lines() if part.get_label() == label]
    return found.get_xydata()


def test_posterior_mean_is_a_density_inside_its_band():
    posterior = fit()
    ax = plot_posterior(posterior)
    ax.figure.canvas.draw()
    x, q = line(ax, "posterior mean").T
    assert np.trapezoid(q, x) == pytest.approx(1, abs=0.02)
    (band,) = [part for part in ax.collections if part.get_label() == "90% band"]
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    assert low <= q.min()
    assert q.max() <= high


def test_two_dimensions_show_a_peak_for_each_group():
    ax = plot_posterior(fit(2))
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["data", "peaks, with intervals"]


def test_three_dimensions_are_refused():
    with pytest.raises(ValueError, match="1 or 2 dimensions"):
        plot_posterior(fit(3))


def test_bars_are_the_probabilities():
    count = ModeCount({k: fit(modes=k) for k in (1, 2)})
    ax = plot_mode_count(count)
    ax.figure.canvas.draw()
    heights = [bar.get_height() for bar in ax.patches]
    expected = [*count.probabilities.values(), *count.part_probabilities.values()]
    assert heights == pytest.approx(expected)


def test_check_shows_data_of_the_model_inside_and_others_outside():
    posterior = fit()
    at = line(plot_check(posterior, replicates=60), "data")[:, 1]
    assert np.abs(at).max() < 0.12  # Kolmogorov: 1.36 / sqrt(60) = 0.18 at 5 %, fitted less
    posterior.model.x = posterior.model.x + 3.0  # no longer the data it was fitted to
    assert np.abs(line(plot_check(posterior, replicates=60), "data")[:, 1]).max() > 0.2


@pytest.mark.parametrize("dim", [1, 2])
def test_the_grid_asked_for_is_the_grid_evaluated(dim):
    posterior, sizes = fit(dim), []
    density = posterior.density
    posterior.density = lambda points: sizes.append(len(points)) or density(points)
    for grid in (None, 90):
        plot_posterior(posterior, grid=grid)
    assert sizes == [{1: 300, 2: 80}[dim] ** dim, 90**dim]
    with pytest.raises(ValueError, match="grid must be at least 2, but got -5"):
        plot_posterior(posterior, grid=-5)


def test_an_axis_that_the_data_lack_is_refused():
    posterior = fit(2)
    assert plot_check(posterior, axis=1, replicates=10).get_xlabel() == "$x_2$"
    with pytest.raises(ValueError, match="axis must be below the 2 dimensions of the data, but go"):
        plot_check(posterior, axis=5)
    with pytest.raises(ValueError, match="axis must be at least 0"):
        plot_check(posterior, axis=-1)
