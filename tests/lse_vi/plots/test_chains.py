"""Chains by mode: what the figure shows is where the chains were."""

import matplotlib
import pytest
import torch

from lse_vi.plots import plot_chains
from lse_vi.plots.guides import mode_color

matplotlib.use("Agg")


def chains(fitted, *modes, draws=30):
    """A chain in each of these modes."""
    values = fitted.guide.values(fitted.guide.get_posterior().sample((2000,)))
    mode = fitted.mode_of(values)
    return {n: torch.stack([v[mode == k][:draws] for k in modes]) for n, v in values.items()}


def test_each_chain_in_the_colour_of_its_mode(fitted):
    trace, bars = plot_chains(fitted, chains(fitted, 1, 0, 1)).axes
    (name,) = fitted.mode_locations
    assert trace.get_ylabel() == name
    colors = trace.collections[0].get_facecolors()
    expected = [matplotlib.colors.to_rgba(mode_color(k)) for k in (1, 0, 1)]
    for chain, color in enumerate(expected):
        assert (colors[30 * chain : 30 * (chain + 1)] == color).all()
    first = [patch.get_width() for patch in bars.containers[0]]
    assert first == pytest.approx([float(fitted.mode_weights[0]), 0.0, 1.0, 0.0], abs=1e-6)
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        "guide", "chain 0", "chain 1", "chain 2",
    ]  # fmt: skip
    matplotlib.pyplot.close("all")


def test_what_is_no_chain_is_said(fitted):
    one = chains(fitted, 0)
    with pytest.raises(ValueError, match=r"values must hold 1 to 24 chains.*shape \(30,\)"):
        plot_chains(fitted, {name: value[0] for name, value in one.items()})
    with pytest.raises(ValueError, match="variable must be one of"):
        plot_chains(fitted, one, variable="nothing")
