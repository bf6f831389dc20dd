"""The result of a fit of a density."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_vi.densities.data_source import Points
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.wrapping import lowest, mode_moments
from lse_vi.fitting.history import History
from lse_vi.fitting.report import counted, curve, page, place
from lse_vi.network.circle import wrapped
from lse_vi.network.potential import ACTIVE
from lse_vi.signatures.attributes import no_attribute
from lse_vi.tables.table import Table

NO_MASS = 1e-6  # share of the mass below which a mode has no location: its mean is mostly rounding
# A mode is doubted where its mass and its share of the data differ by so many standard errors,
# and a share that matters besides.
GAP_ERRORS, GAP_LEAST = 4.0, 0.02
PRINTED_MASS = 1e-3  # share of the mass from which on a mode is printed: three decimals are shown
# Robust deviations from the mean beyond which a point is a stray: 5 % of the data at most, as the
# others set the deviation, and beyond every tail but a Cauchy's or the like.
FAR = 20.0
UNSURE = 0.05  # nats of error of log Z from which on a density is doubted: 5 % of every height
# Share of the mass on each side that the small picture of a notebook leaves out, and its points.
SHOWN, CURVE_POINTS = 0.002, 130
# What users look for in a result: its density has it, or it has another name here.
OF_DENSITY = ("sample", "log_prob", "log_normalizer", "mean", "variance", "stddev", "support")
OURS = {
    **{name: f"its density has: .density.{name}" for name in OF_DENSITY},
    **dict.fromkeys(("weights", "weights_", "masses"), "the masses of the modes are mode_weights"),
    **dict.fromkeys(("means", "means_", "locations"), "the modes are at mode_locations"),
    **dict.fromkeys(
        ("modes", "n_modes", "n_components", "num_modes"),
        "active_modes counts the modes that hold data, and peaks those of the density",
    ),
    **dict.fromkeys(("pdf", "prob"), "its density has: .density.log_prob(x).exp()"),
    **dict.fromkeys(("score", "score_samples"), "its density has: .density.log_prob(x)"),
    **dict.fromkeys(
        ("predict", "predict_proba", "labels_", "responsibilities"),
        "which mode a point belongs to: .density.potential.responsibilities(x)",
    ),
    **dict.fromkeys(
        ("bic", "aic"), "lse_vi.sklearn.LSEDensityEstimator has it; here see log_likelihood"
    ),
}
BLOCK_POINTS = 2**12  # points evaluated at once, which bounds the memory for their responsibilities


@dataclass
class FitResult:
    """What :func:`fit_density` found; print it for a table of the modes.

    Attributes:
        density: the fitted :class:`LSEDensity`, batch shape (*batch,). Its parameters are frozen;
            ``density.potential.requires_grad_()`` makes them trainable again.
        active_modes: number of modes that are responsible for at least 1% of the data, (*batch,).
        mode_weights: mass of each mode, (*batch, modes).
        mode_locations: mean of each mode under q, (*batch, modes, dim); NaN for a mode without
            mass.
        log_likelihood: mean log density of the data, (*batch,), in nats per point.
        history: lists ``step``, ``loss`` (with the prior, without the penalty), ``held_out`` (both
            in nats per point) and ``active_modes``, of all numbers of modes that were tried, those
            kept last; for :func:`lse_vi.plots.plot_history`.
        peaks: number of peaks of the density that hold at least 1% of the mass, (*batch,): modes
            can share one.
        warnings: what speaks against trusting the result, in words; empty if nothing does.
        spread: of the data, (dim,); sets the digits of the report.
        background: mass of the part beside the modes, (*batch,): the last of ``mode_weights``, and
            no mode. None for a fit without one.
        labels: of the data sets, where a table was grouped: ``result["4.0"]``.
        names: of the coordinates, where the data had names.
        by: name of the column by which the table was grouped.
        ess: how many points of weight one the data are worth, (*batch,); None without weights.
        weights_read: how the weights were read, "counts" or "relative"; empty without.
        cells: widths of the cells over which points that share values were spread, by coordinate, 0
            where they were not; empty if nowhere.

    Example:
        >>> from lse_vi import fit_density
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> res = fit_density(x, modes=1, steps=50, progress=False)
        >>> res.mode_weights.shape, res.mode_locations.shape
        (torch.Size([1]), torch.Size([1, 1]))
    """

    density: LSEDensity
    active_modes: Tensor
    mode_weights: Tensor
    mode_locations: Tensor
    log_likelihood: Tensor
    history: History = field(repr=False)
    peaks: Tensor
    warnings: tuple[str, ...]
    spread: Tensor = field(repr=False)
    background: Tensor | None = None
    ess: Tensor | None = None
    weights_read: str = ""
    cells: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    by: str | None = None

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, OURS)

    def __getitem__(self, key: int | str | tuple[int, ...]) -> FitResult:
        """The fit of one data set of a batch, by its place or its label.

        Raises:
            TypeError: for a single fit, which has none.
            KeyError: for a label that no group has.
            IndexError: for a place outside the batch.
        """
        if not self.active_modes.dim():
            raise TypeError(
                "this is a single fit, which has no parts: read its .density, .mode_weights and "
                ".mode_locations; give fit_density a batch, or a DataFrame with by=, for several"
            )
        if isinstance(key, str) and key not in self.labels:
            raise KeyError(f"no group is labelled {key!r}; the labels are {', '.join(self.labels)}")
        at = self.labels.index(key) if isinstance(key, str) else key
        where = at if isinstance(at, tuple) else (int(at),)
        q = self.density
        pot = q.potential.select(where).requires_grad_(False)
        batch: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[where]
            for name in (
                "active_modes",
                "mode_weights",
                "mode_locations",
                "log_likelihood",
                "peaks",
                "background",
                "ess",
            )
        }
        return replace(
            self, density=LSEDensity(pot, q.box, method=q.method), labels=(), warnings=(), **batch
        )

    def _worth(self, points: float) -> str:
        """How many points the data are worth, and how their weights were read."""
        if self.weights_read == "counts":
            return f"weights read as counts of {points:,.0f} points (floats would be relative)"
        said = "relative weights, worth " if self.weights_read else ""
        return f"{said}{points:.4g} effective points"

    def _repr_html_(self) -> str:
        """What a notebook shows: the modes, with the numbers that figures give them."""
        batch = self.active_modes.shape
        rows = []
        for index in np.ndindex(*batch):
            label = self.labels[index[0]] if self.labels else ", ".join(map(str, index))
            weights, locations = self.mode_weights[index], self.mode_locations[index]
            for k in weights.argsort(descending=True).tolist():
                if weights[k] > PRINTED_MASS:
                    at = place(locations[k].tolist(), self.spread.tolist())
                    own = [str(k), f"{float(weights[k]):.3f}", at]
                    rows.append([label, *own] if batch else own)
        group = [self.by or "data set"] if batch else []
        where = "mean" + f" of {', '.join(self.names)}" * bool(self.names)
        title = "densities" if batch else f"density with {counted(int(self.active_modes), 'mode')}"
        picture = "" if batch or self.density.potential.dim > 1 else curve(*self._curve())
        header = [*group, "mode", "weight", where]
        return page(title, header, rows, picture=picture, warnings=self.warnings)

    @torch.no_grad()
    def _curve(self) -> tuple[Tensor, Tensor]:
        """Points over nearly all of the mass, and the density there, of a single fit in 1-D."""
        x, order = self.density.rule.points.squeeze(-1).sort()
        mass = self.density.rule.probabilities(self.density.potential)[order].cumsum(0)
        ends = [x[int((mass < p).sum().clamp_max(len(x) - 1))] for p in (SHOWN, 1 - SHOWN)]
        ticks = torch.linspace(float(ends[0]), float(ends[1]), CURVE_POINTS).to(x)
        return ticks, self.density.log_prob(ticks.unsqueeze(-1)).exp()

    def __str__(self) -> str:
        lines = [f"fit of {self.density}"]
        batch = self.active_modes.shape
        for index in np.ndindex(*batch):
            label = self.labels[index[0]] if self.labels else ", ".join(map(str, index))
            where = f"[{label}] " if batch else ""
            modes, peaks = int(self.active_modes[index]), int(self.peaks[index])
            weights, locations = self.mode_weights[index], self.mode_locations[index]
            ranked = weights.argsort(descending=True).tolist()
            if self.background is not None:
                ranked.remove(len(weights) - 1)
            shown = [k for k in ranked if weights[k] > PRINTED_MASS]
            idle = len(shown) - modes
            few = f" (of {len(shown)} listed)" if idle else ""
            lines.append(
                f"{where}{counted(modes, 'mode')}{few}, {counted(peaks, 'peak')}, log-likelihood "
                f"{float(self.log_likelihood[index]):.4f} nats per point"
            )
            if self.ess is not None:
                lines[-1] += f", {self._worth(float(self.ess[index]))}"
            for k in shown:
                at = place(locations[k].tolist(), self.spread.tolist())
                lines.append(f"    mode {k}  weight {float(weights[k]):.3f}  mean ({at})")
            if self.background is not None:
                lines.append(
                    f"    beside  weight {float(weights[-1]):.3f}  background, as wide as the data"
                )
        if self.cells:
            widths = ", ".join(f"{step:.4g}" for step in self.cells)
            lines.append(f"values that many points share are cells, {widths} wide")
        lines += [f"WARNING: {text}" for text in self.warnings]
        return "\n".join(lines)


@torch.no_grad()
def result_of(
    density: LSEDensity,
    points: Points,
    given: Points,
    peaks: Tensor,
    history: History,
    table: Table,
    *,
    background: bool,
) -> FitResult:
    """The result for a fitted density.

    Args:
        density: in the units of the data.
        points: all data, as fitted.
        given: as the user gave them.
        peaks: the number of peaks of each density, (*batch,).
        history: of the fit to standardised data.
        table: the names and labels that the data came with.
        background: whether the last mode is none, but the part beside them.
    """
    pot, rule = density.potential.requires_grad_(False), density.rule
    weights, locations, _ = mode_moments(pot, rule)
    if pot.units.turn is not None:
        period = pot.units.period.unsqueeze(-2).to(locations)
        locations = wrapped(locations, period, lowest(period))
    spare = (weights < NO_MASS).unsqueeze(-1)
    shares, log_likelihood = torch.zeros_like(weights), torch.zeros_like(weights[..., 0])
    size = points.size.to(weights)
    for part, worth in points.weighted_parts():
        for block, own in zip(part.split(BLOCK_POINTS), worth.split(BLOCK_POINTS), strict=True):
            w = own.to(weights) / size
            shares += (pot.responsibilities(block) * w.unsqueeze(-1)).sum(0)
            log_likelihood += (density.log_prob(block) * w).sum(0)
    doubts = _doubts(weights, shares, density, size) + _unsure(density)
    if table.missing:
        doubts.append(f"{table.missing} rows with missing entries were left out")
    if not background:
        doubts += _strays(given)
    return FitResult(
        density=density,
        active_modes=(shares[..., : -1 if background else None] > ACTIVE).sum(-1),
        mode_weights=weights,
        mode_locations=locations.masked_fill(spare, torch.nan),
        log_likelihood=log_likelihood,
        history=_in_units(history, points),
        peaks=peaks,
        warnings=tuple(doubts),
        spread=points.moments.deviation,
        background=weights[..., -1] if background else None,
        labels=table.labels,
        names=table.names,
        by=table.by,
        ess=None if given.weights is None else size.expand(weights.shape[:-1]),
        weights_read=_reading(given) if table.weighted else "",
        cells=points.steps,
    )


def _in_units(history: History, points: Points) -> History:
    """Losses of standardised data as those of the data: a density changes by the scales."""
    shift = float(points.moments.deviation.log().sum())
    return history | {name: [y + shift for y in history[name]] for name in ("loss", "held_out")}


def _reading(points: Points) -> str:
    return "counts" if points.worth.counts else "relative"


def _doubts(weights: Tensor, shares: Tensor, density: LSEDensity, n: Tensor) -> list[str]:
    """Modes whose mass under the density is not the share of the data that they stand for.

    At the maximum of the likelihood of a mixture the two are equal, and sampling moves the one with
    the other. So a gap that exceeds even the error of a share is a fault of the fit or of log Z.
    """
    error = (
        shares * (1 - shares) / n.unsqueeze(-1)
    ).sqrt() + density.log_normalizer_error.unsqueeze(-1)
    off = (weights - shares).abs() > GAP_ERRORS * error + GAP_LEAST
    return [
        f"mode {int(where[-1])}{f' of data set {tuple(where[:-1].tolist())}' * (len(where) > 1)} "
        f"holds {float(weights[tuple(where)]):.3f} of the density, but "
        f"{float(shares[tuple(where)]):.3f} of the data: the fit has not converged, or log Z is "
        "wrong. Fit again with more restarts or steps, or with values that repeat spread over "
        "their cells (x + rand - 1/2)"
        for where in off.nonzero()
    ]


def _unsure(density: LSEDensity) -> list[str]:
    """A log Z that its rule could not find."""
    error = float(density.log_normalizer_error.max())
    if error <= UNSURE:
        return []
    return [
        f"log Z is known only to {error:.2g} nats, and all heights and masses are as uncertain: "
        "give a method with more nodes or draws, as Quadrature(max_nodes=10**6) or "
        "MomentMixture(65536), or narrower bounds"
    ]


def _strays(points: Points) -> list[str]:
    """Points so far from the others that modes may have been spent on them."""
    mean, deviation = points.moments
    low, high = points.extremes
    if bool(((low >= mean - FAR * deviation) & (high <= mean + FAR * deviation)).all()):
        return []  # without another pass over the data
    away = [
        ((part.double() - mean).abs() > FAR * deviation).any(-1).reshape(len(part), -1).any(-1)
        for part in points.parts()
    ]
    number = sum(int(part.sum()) for part in away)
    if not number:
        return []
    return [
        f"{number} of {len(points)} points {'lies' if number == 1 else 'lie'} more than {FAR:g} "
        "deviations of the others from their middle, and modes may have been spent on such points: "
        "check them, or fit with background=True, which gives them a part of their own"
    ]
