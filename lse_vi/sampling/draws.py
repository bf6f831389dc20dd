"""Draws of a posterior by sequential Monte Carlo, with the mode of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.guides.result import mode_lines
from lse_vi.signatures.checked import checked


@dataclass(frozen=True)
class PosteriorDraws:
    """What :func:`~lse_vi.sample_smc` returns; print it for a report with warnings.

    Islands are independent runs, so they serve as chains for R-hat and the like.

    Attributes:
        samples: values of each site, (island, draw, *shape), equally weighted.
        mode: the index of the peak to which each draw belongs, (island, draw).
        mode_weights: share of the draws of each peak, (peaks,).
        mode_locations: the peaks as values of the model's sites, each (peaks, *shape).
        log_evidence, log_evidence_error: log p(data) and its standard deviation, in nats; the error
            holds the spread of the islands and the mass that the search may not have met.
        r_hat: the largest R-hat of the unconstrained latents; near 1 where islands agree.
        ess: the smallest effective number of draws of the unconstrained latents.
        stages: of tempering; 1 where the guide's modes cover the posterior.
        evaluations: number of draws at which the model was run.
        warnings: reasons not to trust the draws, in words; empty if there are none.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> from lse_vi import AutoLSEICNN, sample_smc
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 2.0))
        ...     pyro.sample("y", dist.Normal(x.abs(), 0.3), obs=torch.tensor(2.0))
        >>> res = sample_smc(model, AutoLSEICNN(model), draws=400, progress=False)
        >>> res.mode_weights.shape, res.select(mode=0)["x"].dim()
        (torch.Size([2]), 1)
    """

    samples: dict[str, Tensor] = field(repr=False)
    mode: Tensor = field(repr=False)
    mode_weights: Tensor
    mode_locations: dict[str, Tensor]
    log_evidence: float
    log_evidence_error: float
    r_hat: float
    ess: float
    stages: int
    evaluations: int
    warnings: tuple[str, ...]

    @checked
    def select(self, mode: int) -> dict[str, Tensor]:
        """The draws of one mode, of all islands: each site (n, *shape).

        Raises:
            ValueError: for a mode that there is not.
        """
        check_count("mode", mode, minimum=0)
        if mode >= len(self.mode_weights):
            raise ValueError(
                f"mode must be below {len(self.mode_weights)}, the number of modes, but got {mode}"
            )
        own = self.mode.flatten() == mode
        return {name: value.flatten(0, 1)[own] for name, value in self.samples.items()}

    def __str__(self) -> str:
        islands, draws = self.mode.shape
        count = len(self.mode_weights)
        lines = [
            f"{islands} x {draws} draws, {count} mode{'s' if count > 1 else ''}, "
            f"{self.stages} stage{'s' if self.stages > 1 else ''} of tempering",
            f"log evidence {self.log_evidence:.4f} +- {self.log_evidence_error:.4f} nats",
            f"R-hat {self.r_hat:.3f}, effective draws {self.ess:.0f}",
        ]
        lines += mode_lines(self.mode_weights, self.mode_locations)
        return "\n".join(lines + [f"WARNING: {text}" for text in self.warnings])
