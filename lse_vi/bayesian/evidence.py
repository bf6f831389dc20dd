"""The evidence for a model, and what the cells in which many points are gathered change of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lse_vi.bayesian.model import BayesianDensity

COMPARED = 64  # draws at which the likelihood of all points is compared with that of the cells
COMPARED_AT_ONCE = 8  # of them, for the memory
MATTERS = 0.01  # nats: less is below a tenth of the error that any evidence has


class Evidence(NamedTuple):
    """The evidence for a model, and how near a guide came to the posterior.

    Compare log evidences to weigh models of the same data; read k-hat before you trust a guide.

    Attributes:
        log_evidence: log p(x | model), in nats.
        error: standard error of ``log_evidence``, in nats.
        k_hat: shape of the tail of the importance weights of the guide's draws, None without a
            guide. Above 0.7 the guide's own draws are unreliable; annealed ones are none of its.

    Example:
        >>> Evidence(log_evidence=-98.5, error=0.1, k_hat=0.4).k_hat < 0.7
        True
    """

    log_evidence: float
    error: float
    k_hat: float | None = None


class Moved(NamedTuple):
    """By how much the log-likelihood of cells differs from that of the points.

    Attributes:
        cells: their number.
        points: that of the points.
        mean: of log p(points) - log p(cells) over draws of the posterior, in nats.
        spread: its standard deviation over these draws: what the draws do not know. A constant
            alone changes no posterior.

    Example:
        >>> Moved(512, 20_000, mean=-1.2, spread=0.01).corrected(Evidence(-10.0, 0.1, 0.5))[0]
        -11.19995
    """

    cells: int
    points: int
    mean: float
    spread: float

    def corrected(self, evidence: Evidence) -> Evidence:
        """The evidence of the points, log E[exp(difference)] above that of the cells.

        For a normal difference that is its mean and half its variance; the half is added to the
        error.
        """
        half = 0.5 * self.spread**2
        error = math.hypot(evidence.error, half, self.spread / math.sqrt(COMPARED))
        return evidence._replace(log_evidence=evidence.log_evidence + self.mean + half, error=error)

    @property
    def matters(self) -> bool:
        """Whether it is worth a line of a report."""
        return max(abs(self.mean), self.spread) > MATTERS

    def __str__(self) -> str:
        return (
            f"{self.points:,} points were gathered in {self.cells:,} cells: the log-likelihood "
            f"moved by {-self.mean:.2g} nats, which is corrected, and by {self.spread:.2g} nats "
            "between draws, which is not"
        )


@torch.no_grad()
def moved_likelihood(whole: BayesianDensity, cells: BayesianDensity, theta: Tensor) -> Moved:
    """Compare two models at draws ``theta`` (n, size) of the posterior."""
    if whole is cells:
        return Moved(len(whole.x), len(whole.x), 0.0, 0.0)
    parts = theta[:: max(1, len(theta) // COMPARED)][:COMPARED].split(COMPARED_AT_ONCE)
    gap = torch.cat([whole.unit_log_joint(at) - cells.unit_log_joint(at) for at in parts])
    return Moved(len(cells.x), len(whole.x), float(gap.mean()), float(gap.std()))
