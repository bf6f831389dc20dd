"""The settings of an export to ArviZ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lse_vi.checks import check_count
from lse_vi.signatures.checked import checked


@checked
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """The settings of :func:`~lse_vi.to_arviz` as one object.

    Use it for a model that has an argument of the name of a setting, such as ``prior`` or
    ``seed``, and to use the same settings for many exports.

    Args:
        num_samples: number of draws from a guide (in one chain), and from the prior.
        parallel: run all draws at once in an outermost plate, as in ``pyro.infer.Predictive``;
            every batch dimension of the model must then be a plate.
        prior: draw from the prior too; it must be proper.
        sample_stats: statistics (chain, draw, *shape) of given draws, e.g. log weights.
        coords: labels along dimensions, for ArviZ.
        dims: names of the dimensions of a site, in place of those of its plates.
        discrete: also draw the discrete sites that are summed out, given the other latents. Without
            it, data that share such a site have no ``log_likelihood``.
        resample: draw from an :class:`~lse_vi.AutoLSEICNN` and resample by Pareto-smoothed
            importance weights, which corrects the guide's error where k-hat is below 0.7. With or
            without it, ``sample_stats`` holds the log weights of such a guide's draws, and the
            attributes hold k-hat, the effective sample size, the ELBO and the log evidence.
        seed: makes the result reproducible and leaves the global random state untouched.

    Raises:
        TypeError: if ``num_samples`` is not an integer.
        ValueError: if it is below 1.

    Example:
        >>> ExportSettings(prior=False).num_samples
        1000
    """

    num_samples: int = 1000
    parallel: bool = False
    prior: bool = True
    sample_stats: Mapping[str, Any] | None = None
    coords: Mapping[str, Sequence[Any]] | None = None
    dims: Mapping[str, Sequence[str]] | None = None
    discrete: bool = False
    resample: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        check_count("num_samples", self.num_samples)
