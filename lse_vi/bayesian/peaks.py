"""The peaks of the densities of a posterior: their number is what "how many modes" asks for."""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.coordinates.coordinates import ModeCoordinates
from lse_vi.distribution.peaks import DensityPeaks, climb_to_peaks
from lse_vi.network.icnn import whitened


@torch.no_grad()
def density_peaks(coordinates: ModeCoordinates, theta: Tensor) -> DensityPeaks:
    """The peaks of the densities ``theta`` (batch, size), by ascent from the peak of every mode.

    Locations are in the units of the data, the search is not.
    """
    pot = coordinates.standardised.potential(theta)
    widths = (-coordinates.split(theta)["log_scale"]).exp()
    loc, mass = whitened(pot.network).loc, coordinates.masses(theta)
    peaks = climb_to_peaks(pot, loc, widths, mass, coordinates.standardised.box)
    return peaks._replace(location=coordinates.shift + coordinates.scale * peaks.location)
