"""Exact draws of a density as an integration rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lse_vi.checks import check_count
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.rule import Method, Rule
from lse_vi.network.potential import LSEICNN
from lse_vi.signatures.checked import checked


@checked
@dataclass(frozen=True)
class ExactDraws:
    """Exact draws of the density itself, as a rule of equal weights under q.

    Use it for expectations under q without the variance of importance weights, such as the
    gradient of an ELBO. The rule also needs log Z, for its scale, and takes it from the method
    ``scale``; expectations under q do not depend on it.

    Args:
        samples: number of draws.
        scale: how log Z is found.

    Raises:
        ValueError: for fewer than two samples.

    Example:
        >>> from lse_vi import WhitenedICNN
        >>> pot = LSEICNN(2, 2, rho=1.0, network=WhitenedICNN)
        >>> ExactDraws(samples=100).rule(pot, None).points.shape
        torch.Size([100, 2])
    """

    samples: int = 2048
    scale: Method = LaplaceMixture()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 2)

    @torch.no_grad()
    @checked
    def rule(self, pot: LSEICNN, box: Box | None) -> Rule:
        """The draws, each of weight Z exp(E) / samples."""
        density = LSEDensity(pot, box, method=self.scale)
        points = density.sample((self.samples,))
        log_z = density.log_normalizer
        return Rule(points, log_z + pot(points) - math.log(self.samples), density.rule.error)
