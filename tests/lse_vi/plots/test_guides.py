"""Figures of a fitted guide: what they show is what the result holds."""

import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.plots import plot_mode_weights, plot_pairs

matplotlib.use("Agg")


class TestFigures:
    def test_pairs(self):
        def model():
            pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("a", dist.LogNormal(0.0, 0.3))

        res = fit_guide(model, AutoLSEICNN(model, modes=1), steps=20, progress=False)
        figure = plot_pairs(res, draws=50)
        axes = np.reshape(figure.axes, (3, 3))
        assert [ax.get_xlabel() for ax in axes[-1]] == ["b[0]", "b[1]", "a"]
        assert len(axes[1, 0].collections[0].get_offsets()) == 50
        assert min(axes[2, 0].collections[0].get_offsets()[:, 1]) > 0
        assert len(plot_pairs(res, sites=["a"], draws=50).axes) == 1
        with pytest.raises(ValueError, match=r"sites: the model has \['a', 'b'\], but not 'c'"):
            plot_pairs(res, sites=["c"])
        matplotlib.pyplot.close("all")

    def test_draws_are_coloured_by_mode(self, fitted):
        (ax,) = plot_pairs(fitted, draws=400).axes
        colors = {patch.get_facecolor() for patch in ax.patches if patch.get_height()}
        assert len(colors) == 2
        matplotlib.pyplot.close("all")

    def test_weights_with_what_was_missed(self, square, nine, fitted):
        res = fit_guide(square, AutoLSEICNN(square, modes=1), nine, steps=20, progress=False)
        for result, heights in ((fitted, [0.75, 0.25]), (res, [0.75, 0.25])):
            ax = plot_mode_weights(result)
            assert [bar.get_height() for bar in ax.patches] == pytest.approx(heights, abs=0.03)
            assert (ax.get_legend() is None) == (result is fitted)
        matplotlib.pyplot.close("all")
