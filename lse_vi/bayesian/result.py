"""The posterior of a density: draws, and what they say of the density, its peaks and new data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lse_vi.bayesian.evidence import Evidence, Moved
from lse_vi.bayesian.model import BayesianDensity
from lse_vi.bayesian.peaks import density_peaks
from lse_vi.checks import check_count, check_dim, check_fraction
from lse_vi.distribution.peaks import DensityPeaks
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.report import counted, number
from lse_vi.numerics.arrays import as_points
from lse_vi.signatures.attributes import no_attribute
from lse_vi.signatures.checked import checked

PIECE = 100  # draws evaluated at once, to bound the memory
CLIMBING = 1000  # the same for peaks, where each density is evaluated at a few places only
CDF_POINTS = 1201  # of the trapezoidal rule behind a CDF: about 0.01 standard deviations apart
CDF_MARGIN = 3.0  # standard deviations by which its range exceeds the data: hardly any mass is left
REFERENCE_DRAWS = 200  # in which the likeliest is sought: any draw of a high log joint serves
LEAST_SHOWN = 5e-4  # smallest probability that is printed: less is 0.0 % with one decimal
# What other results have.
OURS = {
    "probabilities": "mode_probabilities holds that of each number of peaks",
    "most_probable": "that of count_modes has it; here see mode_probabilities",
    "mode_weights": "each draw has its own: model.coordinates.masses(draws), or peak_table()",
    "weights": "each draw has its own masses: model.coordinates.masses(draws), or peak_table()",
    "mode_locations": "peak_table() has the places of the peaks, with intervals",
    "samples": "draws holds the draws, density(x) and cdf(x) what they say of x",
    "sample": "predictive(count) draws data sets, and draws holds the draws",
    "log_prob": "log_density(x) has a row for each draw",
    "log_evidence": "evidence has it: evidence.log_evidence",
}


class PeakSummary(NamedTuple):
    """One peak over the draws that have the most probable number of peaks.

    :meth:`DensityPosterior.peak_table` makes one for each peak, to report it with its uncertainty.

    Attributes:
        mass: posterior mean of the share of the mass.
        mass_low, mass_high: ends of its credible interval.
        location: posterior mean of the place, (dim,), in the units of the data.
        location_low, location_high: ends of the credible intervals of its coordinates, (dim,).

    Example:
        >>> place = torch.tensor([2.0])
        >>> PeakSummary(0.4, 0.3, 0.5, place, place - 0.1, place + 0.1).mass
        0.4
    """

    mass: float
    mass_low: float
    mass_high: float
    location: Tensor
    location_low: Tensor
    location_high: Tensor


class DensityPosterior:
    """The posterior of a density: draws of its coordinates, given data.

    It answers how sure a density, its CDF and its peaks are, and predicts new data; ``print`` it
    for a summary of the peaks. :func:`~lse_vi.fit_posterior` and
    :func:`~lse_vi.sample_posterior` make one.

    Attributes:
        model: the :class:`~lse_vi.BayesianDensity`.
        theta: draws (chain, draw, size), equally weighted.
        source: where the draws come from, e.g. the guide's name.
        evidence: log evidence, k-hat of a guide; None for a Markov chain.
        stats: sampler statistics, each (chain, draw).
        gathered: what gathering many points in cells changed; None where all were used.
        names: of the coordinates, where the data had names.

    Example:
        >>> model = BayesianDensity(torch.randn(20), modes=2)
        >>> prior = DensityPosterior(model, model.prior_sample(30).unsqueeze(0), source="prior")
        >>> prior.density(torch.zeros(4)).shape, prior.predictive(5).shape
        (torch.Size([30, 4]), torch.Size([5, 20, 1]))
    """

    @checked
    def __init__(
        self,
        model: BayesianDensity,
        theta: Tensor,
        *,
        source: str,
        evidence: Evidence | None = None,
        stats: dict[str, Any] | None = None,
        gathered: Moved | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.model, self.theta, self.source = model, theta, source
        self.evidence, self.stats = evidence, stats or {}
        self.gathered, self.names = gathered, tuple(names)

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, OURS)

    @property
    def draws(self) -> Tensor:
        """The draws of all chains, (draws, size)."""
        return self.theta.flatten(0, 1)

    @checked
    @torch.no_grad()
    def log_density(self, x: Any) -> Tensor:
        """log q(x) of every draw, at points (n, dim) or (n,): (draws, n)."""
        points, at = as_points("x", x).to(self.theta), self.model.coordinates
        check_dim("x", points, self.model.dim)
        unit = at.place(points).unsqueeze(1)
        parts = [at.standardised.potential(part)(unit) for part in self._pieces()]
        log_q = -torch.cat(parts, dim=1).T - at.log_volume
        return log_q if at.box is None else log_q.where(at.box.contains(points), -torch.inf)

    @checked
    def density(self, x: Any) -> Tensor:
        """q(x) of every draw, at points (n, dim) or (n,): (draws, n)."""
        return self.log_density(x).exp()

    @checked
    def cdf(self, x: Any) -> Tensor:
        """The cumulative distribution of every draw at points (n,) or (n, 1): (draws, n).

        It is for one dimension.

        Raises:
            ValueError: in more dimensions.
        """
        if self.model.dim > 1:
            raise ValueError(f"cdf is for one dimension, but the data have {self.model.dim}")
        points = as_points("x", x).to(self.theta)
        check_dim("x", points, 1)
        at = points.squeeze(-1)
        x, reach = self.model.x, CDF_MARGIN * self.model.coordinates.scale
        low, high = x.min() - reach, x.max() + reach
        if box := self.model.box:
            low, high = low.maximum(box.low.squeeze()), high.minimum(box.high.squeeze())
        ticks = torch.linspace(float(low), float(high), CDF_POINTS).to(at)
        q = self.density(ticks)
        step = ticks[1] - ticks[0]
        total = torch.nn.functional.pad(torch.cumulative_trapezoid(q, dx=float(step)), (1, 0))
        place = ((at - low) / step).clamp(0, CDF_POINTS - 1)
        left = place.floor().long().clamp_max(CDF_POINTS - 2)
        return torch.lerp(total[:, left], total[:, left + 1], place - left)

    @cached_property
    def peaks(self) -> DensityPeaks:
        """The peaks of every draw's density: number (draws,), location and mass."""
        parts = [density_peaks(self.model.coordinates, part) for part in self.draws.split(CLIMBING)]
        return DensityPeaks(*(torch.cat(field) for field in zip(*parts, strict=True)))

    @property
    def mode_probabilities(self) -> dict[int, float]:
        """Probability of each number of peaks of the density, given the data and this model."""
        share = self.peaks.number.bincount().double() / len(self.draws)
        return {m: float(p) for m, p in enumerate(share) if p > 0}

    @checked
    def peak_table(self, level: float = 0.9) -> list[PeakSummary]:
        """The peaks over the draws that have the most probable number of peaks.

        To tell the peaks apart, those of each draw are matched by distance to the peaks of one
        likely draw.

        Args:
            level: of the credible intervals, between 0 and 1.
        """
        probabilities, peaks = self.mode_probabilities, self.peaks
        number = max(probabilities, key=lambda m: probabilities[m])
        chosen = peaks.number == number
        mass, order = peaks.mass[chosen].sort(dim=-1, descending=True)
        mass, order = mass[:, :number], order[:, :number]
        place = peaks.location[chosen].gather(1, order.unsqueeze(-1).expand(-1, -1, self.model.dim))
        best = self.model.unit_log_joint(self.draws[chosen][:REFERENCE_DRAWS]).argmax()
        reference = place[best][place[best][:, 0].argsort()]
        for i, row in enumerate(place / self.model.coordinates.scale):
            apart = torch.cdist(reference / self.model.coordinates.scale, row)
            match = torch.as_tensor(linear_sum_assignment(apart.numpy())[1])
            place[i], mass[i] = place[i, match], mass[i, match]
        masses, places = interval(mass, level), interval(place, level)
        return [
            PeakSummary(
                mass=float(mass[:, j].mean()),
                mass_low=float(masses[0][j]),
                mass_high=float(masses[1][j]),
                location=place[:, j].mean(0),
                location_low=places[0][j],
                location_high=places[1][j],
            )
            for j in range(number)
        ]

    @torch.no_grad()
    def log_likelihood(self) -> Tensor:
        """log q(x_i) of every draw at the data, (chain, draw, n)."""
        parts = [self.model.log_likelihood(part) for part in self._pieces()]
        return torch.cat(parts, dim=1).T.unflatten(0, self.theta.shape[:2])

    @checked
    @torch.no_grad()
    def predictive(self, count: int = 100, *, seed: int = 0) -> Tensor:
        """Replicated data sets, each drawn exactly from one of ``count`` draws: (count, n, dim).

        With weights, n is what the points are worth.
        """
        check_count("count", count)
        with seeded(seed):
            rows = torch.linspace(0, len(self.draws) - 1, count).round().long()
            return self.model.sample(self.draws[rows], round(self.model.points)).movedim(0, 1)

    def __str__(self) -> str:
        model = self.model
        lines = [
            f"posterior of a density: {model.points:.6g} points in "
            f"{counted(model.dim, 'dimension')}, {counted(model.modes, 'mode')}, "
            f"hidden {model.coordinates.hidden}, {self.source}"
        ]
        if self.evidence:
            k_hat = self.evidence.k_hat
            lines.append(
                f"log evidence {self.evidence.log_evidence:.2f} +- {self.evidence.error:.2f} nats"
                + ("" if k_hat is None else f", k-hat {k_hat:.2f}")
            )
        if self.gathered is not None and self.gathered.matters:
            lines.append(str(self.gathered))
        lines.append(probability_line(self.mode_probabilities))
        for peak in self.peak_table():
            rows = torch.stack([peak.location, peak.location_low, peak.location_high], dim=-1)
            scales = model.coordinates.scale.tolist()
            at = ", ".join(
                f"{number(v, s)} ({number(a, s)} to {number(b, s)})"
                for (v, a, b), s in zip(rows.tolist(), scales, strict=True)
            )
            lines.append(
                f"    peak at {at}, mass {peak.mass:.3f} "
                f"({peak.mass_low:.3f} to {peak.mass_high:.3f})"
            )
        return "\n".join(lines)

    def _pieces(self) -> Sequence[Tensor]:
        """The draws in parts that are evaluated at once."""
        return self.draws.split(PIECE)


def check_unweighted(posterior: DensityPosterior) -> None:
    """Points with weights have no log-likelihood of their own each."""
    if bool((posterior.model.weights != 1).any()):
        raise ValueError(
            "posterior is of points with weights, for which leave-one-out scores mean nothing; "
            "repeat points that are counted, as by x.repeat(counts), or compare log evidences"
        )


def interval(draws: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
    """Central credible interval over the first dimension of ``draws``: its low and high end.

    Args:
        draws: (n, *shape).
        level: probability of the interval, between 0 and 1.

    Example:
        >>> interval(torch.arange(101.0), 0.9)
        (tensor(5.), tensor(95.))
    """
    check_fraction("level", level)
    return draws.quantile((1 - level) / 2, dim=0), draws.quantile((1 + level) / 2, dim=0)


def probability_line(probabilities: dict[int, float]) -> str:
    """The probability of each number of peaks, as a line of text."""
    parts = [f"{m}: {p:.1%}" for m, p in sorted(probabilities.items()) if p >= LEAST_SHOWN]
    return "number of peaks " + ", ".join(parts)
