"""Potentials with several wells and distributions with several modes, on Pyro and PyTorch.

One network (:class:`LSEICNN`, a log-sum-exponential of gated convex networks), used as a potential,
as a density that is normalised and sampled exactly (:class:`LSEDensity`), and as a guide with
several modes for any Pyro model (:class:`AutoLSEICNN`).
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from lse_vi.arviz_export import ExportSettings
from lse_vi.bayesian import (
    BayesianDensity,
    DensityPosterior,
    ModeCount,
    Prior,
    compare_densities,
    count_modes,
    fit_posterior,
    sample_posterior,
)
from lse_vi.densities import FitResult, fit_density
from lse_vi.distribution import (
    Envelope,
    ExactDraws,
    LaplaceMixture,
    LSEDensity,
    MomentMixture,
    Quadrature,
)
from lse_vi.fitting import NonFiniteLossError
from lse_vi.guides import AutoLSEICNN, EnergyELBO, GuideRecipe, GuideResult, fit_guide
from lse_vi.hysteresis import HysteresisFit, fit_memory
from lse_vi.landscapes import (
    Blend,
    basins,
    gradient_flow,
    rates_from_trajectories,
    stationary_points,
)
from lse_vi.materials import (
    Components,
    Elastic,
    Isotropic,
    Memory,
    MemoryFit,
    Play,
    TransverselyIsotropic,
    polish_memory,
)
from lse_vi.network import ICNN, LSEICNN, WhitenedICNN, load
from lse_vi.potentials import (
    Adam,
    FewestModes,
    LevenbergMarquardt,
    PotentialFit,
    fit_potential,
    paper_recipe,
)
from lse_vi.sampling import PosteriorDraws, SMCSettings, sample_smc

__all__ = [
    "ICNN",
    "LSEICNN",
    "Adam",
    "AutoLSEICNN",
    "BayesianDensity",
    "Blend",
    "Components",
    "DensityPosterior",
    "Elastic",
    "EnergyELBO",
    "Envelope",
    "ExactDraws",
    "ExportSettings",
    "FewestModes",
    "FitResult",
    "GuideRecipe",
    "GuideResult",
    "HysteresisFit",
    "Isotropic",
    "LSEDensity",
    "LaplaceMixture",
    "LevenbergMarquardt",
    "Memory",
    "MemoryFit",
    "ModeCount",
    "MomentMixture",
    "NonFiniteLossError",
    "Play",
    "PosteriorDraws",
    "PotentialFit",
    "Prior",
    "Quadrature",
    "SMCSettings",
    "TransverselyIsotropic",
    "WhitenedICNN",
    "basins",
    "compare_densities",
    "count_modes",
    "density_to_arviz",
    "fit_density",
    "fit_guide",
    "fit_memory",
    "fit_posterior",
    "fit_potential",
    "gradient_flow",
    "load",
    "paper_recipe",
    "polish_memory",
    "rates_from_trajectories",
    "sample_posterior",
    "sample_smc",
    "stationary_points",
    "to_arviz",
]

__version__ = version("lse-vi")

# Loaded on first use, as ArviZ takes longer to import than all else together.
_LATER = {
    "density_to_arviz": "lse_vi.bayesian.arviz",
    "to_arviz": "lse_vi.arviz_export.export",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name == "plots":  # Matplotlib too
        return import_module("lse_vi.plots")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is for users; the rooms behind it can be imported, but need not be known."""
    return sorted([*__all__, "__version__", "plots"])
