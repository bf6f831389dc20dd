"""Figures in tests: wells to draw, and what has been drawn, read back."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.collections import PathCollection

from lse_vi import LSEICNN, AutoLSEICNN, WhitenedICNN, fit_guide


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def _wells(dim: int, modes: int = 2, spread: float = 4.0) -> LSEICNN:
    """Modes of nearly equal weight, ``spread`` apart on the first axis."""
    pot = LSEICNN(dim, modes, rho=1.0, network=WhitenedICNN)
    centers = torch.zeros(modes, dim)
    centers[:, 0] = spread * (torch.arange(modes) - (modes - 1) / 2)
    pot.network.reset_parameters(centers)
    return pot


@pytest.fixture(scope="session")
def wells():
    return _wells


def _draw(ax: plt.Axes) -> None:
    """Render the figure, where matplotlib does most of its work and its warning."""
    ax.figure.canvas.draw()


@pytest.fixture(scope="session")
def draw():
    return _draw


def _legend(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture(scope="session")
def legend():
    return _legend


def _curve(ax: plt.Axes, label: str) -> np.ndarray:
    """The points (n, 2) of the one line with this label."""
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line.get_xydata()


@pytest.fixture(scope="session")
def curve():
    return _curve


def _drawn_points(ax: plt.Axes) -> np.ndarray:
    """The centres of all markers of all scatters, (n, 2)."""
    scatters = [part for part in ax.collections if isinstance(part, PathCollection)]
    return np.concatenate([np.asarray(part.get_offsets()) for part in scatters])


@pytest.fixture(scope="session")
def drawn_points():
    return _drawn_points


@pytest.fixture(scope="session")
def guide():
    """A guide of two variables with one mode, hardly trained."""

    def model():
        pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    return fit_guide(model, AutoLSEICNN(model, modes=1), steps=5, progress=False)
