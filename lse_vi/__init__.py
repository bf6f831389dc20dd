"""Potentials with several wells and distributions with several modes, on Pyro and PyTorch.

One network (:class:`LSEICNN`, a log-sum-exponential of gated convex networks), used as a potential,
as a density that is normalised and sampled exactly (:class:`LSEDensity`), and as a guide with
several modes for any Pyro model (:class:`AutoLSEICNN`).
"""

from typing import Any

from lse_vi.bayesian_density import BayesianDensity
from lse_vi.density import LSEDensity
from lse_vi.density_fit import FitResult
from lse_vi.density_posterior import DensityPosterior
from lse_vi.density_training import NonFiniteLossError
from lse_vi.discovery import FewestModes
from lse_vi.dynamics import Blend, basins, gradient_flow, stationary_points
from lse_vi.elbo import EnergyELBO, ExactDraws
from lse_vi.fit import fit_density
from lse_vi.fit_guide import fit_guide
from lse_vi.fit_memory import MemoryFit, fit_memory
from lse_vi.fit_posterior import fit_posterior
from lse_vi.guide import AutoLSEICNN
from lse_vi.guide_result import GuideResult
from lse_vi.icnn import ICNN, WhitenedICNN
from lse_vi.importance import Envelope, LaplaceMixture, MomentMixture
from lse_vi.invariants import Components, Isotropic, TransverselyIsotropic
from lse_vi.memory import Elastic, Memory
from lse_vi.mode_coordinates import Prior
from lse_vi.mode_count import ModeCount, count_modes
from lse_vi.nuts import sample_posterior
from lse_vi.play import Play
from lse_vi.polish_memory import polish_memory
from lse_vi.potential import LSEICNN, load
from lse_vi.potential_fit import PotentialFit
from lse_vi.quadrature import Quadrature
from lse_vi.regression import fit_potential, paper_recipe
from lse_vi.solvers import Adam, LevenbergMarquardt
from lse_vi.trajectories import rates_from_trajectories

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
    "FewestModes",
    "FitResult",
    "GuideResult",
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
    "PotentialFit",
    "Prior",
    "Quadrature",
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
    "stationary_points",
    "to_arviz",
]


def __getattr__(name: str) -> Any:
    """What needs ArviZ, on first use: ArviZ takes longer to import than all else together."""
    if name == "to_arviz":
        from lse_vi.arviz_bridge import to_arviz

        return to_arviz
    if name in ("compare_densities", "density_to_arviz"):
        from lse_vi import density_arviz

        return getattr(density_arviz, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
