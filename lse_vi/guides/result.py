"""The result of a fit of a guide, with warnings if it cannot be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lse_vi.checks import check_dim
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.modes import mode_minima
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.report import counted
from lse_vi.guides.diagnostics import Cover, Importance, Missed, model_doubts
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.peak_search import Search, climb
from lse_vi.guides.peaks import Peaks
from lse_vi.joint.log_joint import LogJoint
from lse_vi.numerics.relabelling import orders
from lse_vi.signatures.checked import checked

TRUSTED_K = 0.7  # k-hat above which importance weights cannot be trusted (Vehtari et al. 2024)
TRUSTED_ESS = 0.05  # effective share of the draws below which the guide is a poor approximation
NEARLY_EXACT = 0.9  # effective share of the draws from which on heavy tails hold little mass
# Nats by which the evidence of draws around the guide must exceed that of its own draws, and how
# many standard deviations, to say that the guide lacks mass.
LACKING, SIGMAS = 0.02, 4.0
REFERENCE_DRAWS = 2000  # of the guide, that show the order of components in its heaviest mode
MOST_SHOWN, SHOWN = 6, 5  # numbers of a value printed in full, and of a longer one: one line each


@dataclass
class GuideResult:
    """What :func:`fit_guide` found; print it for a report with warnings.

    Attributes:
        guide: the trained guide.
        elbo, elbo_error: evidence lower bound and its standard deviation, in nats.
        log_evidence, log_evidence_error: log p(data) by importance sampling from the guide, and
            its standard deviation, in nats.
        ess: effective sample size of the importance weights, as a share of the draws.
        k_hat: Pareto shape of the weights; above 0.7 they cannot be trusted.
        mode_weights: the guide's mass around each peak of the posterior, (peaks,), largest first.
        mode_of_part: index of the peak to which each convex part of the guide belongs, (parts,).
        mode_locations: the peaks as values of the model's sites, each (peaks, *shape).
        missed: peaks outside the guide, with their share of the mass.
        warnings: reasons not to trust the result, in words; empty if there are none.
        history: lists ``step``, ``elbo`` (nats), ``misfit`` (nats), with an entry for each check.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from lse_vi import fit_guide
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, 1.0), obs=y)
        >>> few = {"steps": 20, "samples": 128, "progress": False}
        >>> res = fit_guide(model, AutoLSEICNN(model, modes=1), torch.tensor(1.0), **few)
        >>> round(res.log_evidence, 1), res.mode_locations["x"].shape, len(res.missed.share)
        (-1.5, torch.Size([1]), 0)
    """

    guide: AutoLSEICNN = field(repr=False)
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    k_hat: float
    mode_weights: Tensor
    mode_of_part: Tensor
    mode_locations: dict[str, Tensor]
    missed: Missed = field(repr=False)
    warnings: tuple[str, ...]
    history: dict[str, list[float]] = field(repr=False)

    @checked
    def mode_of(self, values: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The index of the peak to which each draw most likely belongs, (*lead).

        Use it to label draws from anywhere by their mode, such as ``mcmc.get_samples()``, also with
        ``group_by_chain=True``.

        Args:
            values: of every latent site of the model, (*lead, *shape), or unconstrained vectors
                (*lead, dim).

        Raises:
            ValueError: if a site is missing, or of another shape.
        """
        z = values if isinstance(values, Tensor) else self.guide.unconstrain(values)
        check_dim("values", z, self.guide.latent_dim)
        with torch.no_grad():
            part = self.guide.potential.responsibilities(z.to(self.guide.potential.alpha))
            return self.mode_of_part[part.argmax(-1)]

    @checked
    def relabel(
        self, draws: Mapping[str, Tensor], *, sites: Sequence[str], seed: int = 0
    ) -> dict[str, Tensor]:
        """Draws whose exchangeable components are in one order, that of the heaviest mode.

        Use it before a summary of a mixture's components: without it, each draw has an order of its
        own, and a mean is one over all labellings. Components are matched by their values, which
        are taken to be normal and independent (Stephens 2000): components that overlap keep a part
        of their ambiguity.

        Args:
            draws: of every latent site of the model, (*lead, *shape), such as those of
                :func:`~lse_vi.sample_smc` or ``mcmc.get_samples()``.
            sites: names of the sites whose first dimension, after ``lead``, counts the components.
            seed: of the guide's draws that show the order.

        Returns:
            ``draws`` with the components of ``sites`` permuted, draw by draw.

        Raises:
            ValueError: if a site is missing, of another shape, or has another number of components.

        Example:
            >>> import pyro, pyro.distributions as dist
            >>> from lse_vi import fit_guide
            >>> def model():
            ...     mean = pyro.sample("mean", dist.Normal(torch.zeros(2), 5.0).to_event(1))
            ...     gap = mean.sort()[0] - torch.tensor([-3.0, 3.0])
            ...     pyro.factor("two", -2 * gap.square().sum())
            >>> res = fit_guide(model, AutoLSEICNN(model), progress=False)
            >>> swapped = {"mean": torch.tensor([[3.1, -2.9], [-3.0, 2.8]])}
            >>> res.relabel(swapped, sites=["mean"])["mean"].argmin(1).unique().shape
            torch.Size([1])
        """
        self.guide.unconstrain(draws)  # says what is missing, or of another shape
        with seeded(seed), torch.no_grad():
            z = self.guide.get_posterior().sample((REFERENCE_DRAWS,))
            known = self.guide.values(z[self.mode_of(z) == 0])
        sites = check_components(sites, known)
        lead = draws[sites[0]].shape[: draws[sites[0]].dim() - known[sites[0]].dim() + 1]
        order = torch.as_tensor(
            orders(_features(draws, sites, len(lead)), _features(known, sites, 1))
        )
        order = order.reshape(*lead, -1)
        moved = dict(draws)
        for name in sites:
            value = draws[name]
            index = order.to(value.device).reshape(order.shape + (1,) * (value.dim() - order.dim()))
            moved[name] = value.gather(len(lead), index.expand_as(value))
        return moved

    def __str__(self) -> str:
        lines = [
            f"fit of AutoLSEICNN: {counted(len(self.mode_weights), 'mode')}, "
            f"{counted(self.guide.potential.modes, 'convex part')}, "
            f"{counted(self.guide.latent_dim, 'dimension')}",
            f"ELBO {self.elbo:.4f} +- {self.elbo_error:.4f}, log evidence {self.log_evidence:.4f} "
            f"+- {self.log_evidence_error:.4f} nats",
            f"importance ESS {100 * self.ess:.1f} % of the draws, k-hat {self.k_hat:.2f}",
        ]
        lines += mode_lines(self.mode_weights, self.mode_locations)
        return "\n".join(lines + [f"WARNING: {text}" for text in self.warnings])


def check_components(sites: Sequence[str], known: Mapping[str, Tensor]) -> list[str]:
    """``sites`` as a list; each must be a site of ``known``, (draws, components, *shape)."""
    names = [sites] if isinstance(sites, str) else list(sites)
    if not names:
        raise ValueError("sites must name one site or more, but got none")
    for name in names:
        if name not in known or known[name].dim() < 2:
            vectors = sorted(each for each, value in known.items() if value.dim() > 1)
            raise ValueError(
                f"sites must be names of sites with a dimension for the components, among "
                f"{vectors}, but got {name!r}"
            )
    counts = {name: known[name].shape[1] for name in names}
    if len(set(counts.values())) > 1:
        raise ValueError(f"sites must have the same number of components, but have {counts}")
    return names


def _features(values: Mapping[str, Tensor], sites: Sequence[str], lead: int) -> np.ndarray:
    """The values of each component side by side, (draws, components, entries)."""
    each = [values[name].flatten(0, lead - 1) if lead > 1 else values[name] for name in sites]
    each = [value.unsqueeze(0) if lead == 0 else value for value in each]
    flat = [value.reshape(*value.shape[:2], -1).double().cpu() for value in each]
    return torch.cat(flat, -1).numpy()


def report(
    guide: AutoLSEICNN,
    density: LSEDensity,
    log_joint: LogJoint,
    search: Search,
    judged: Importance,
    cover: Cover,
    missed: Missed,
    history: dict[str, list[float]],
) -> tuple[GuideResult, Tensor]:
    """The result of a fit, from what its steps found, and the index of each mode's peak.

    Args:
        guide: whose density it will be.
        density: trained and pruned, in the units of ``log_joint``.
        log_joint: of the model.
        search: for the peaks.
        judged: the importance weights of the trained guide.
        cover: draws from around the guide.
        missed: peaks outside the trained guide.
        history: of the training.
    """
    known = search.peaks.real
    weights, parts, at = _by_peak(density, log_joint, known)
    rows = [log_joint.constrain(z) for z in known.x[at]]
    result = GuideResult(
        guide=guide,
        elbo=judged.elbo,
        elbo_error=judged.elbo_error,
        log_evidence=judged.log_evidence,
        log_evidence_error=math.hypot(judged.log_evidence_error, search.unseen),
        ess=judged.ess,
        k_hat=judged.k_hat,
        mode_weights=weights,
        mode_of_part=parts,
        mode_locations={name: torch.stack([row[name] for row in rows]) for name in rows[0]},
        missed=missed,
        warnings=tuple(
            _doubts(guide, log_joint, search, judged, cover, missed, density.potential.modes)
        ),
        history=history,
    )
    return result, at


@torch.no_grad()
def _by_peak(
    density: LSEDensity, log_joint: LogJoint, peaks: Peaks
) -> tuple[Tensor, Tensor, Tensor]:
    """The guide's mass at each peak where it has any, and which parts make it up.

    A convex part belongs to the peak that an ascent of the log joint from its minimum reaches.

    Returns the masses (peaks,), largest first; for each part the index of its peak among these,
    (parts,); and the indices of these peaks in ``peaks``, (peaks,).
    """
    part_mass = density.mode_weights
    summits = climb(log_joint, mode_minima(density.potential).x)
    peak = peaks.distance(summits).argmin(1)
    mass = torch.zeros(len(peaks)).to(part_mass).index_add(0, peak, part_mass)
    at = mass.argsort(descending=True)
    at = at[mass[at] > 0]
    return mass[at], (peak.unsqueeze(1) == at).long().argmax(1), at


def _doubts(
    guide: AutoLSEICNN,
    log_joint: LogJoint,
    search: Search,
    judged: Importance,
    cover: Cover,
    missed: Missed,
    parts: int,
) -> list[str]:
    """Reasons not to trust the fit, each with a remedy."""
    doubts, known = [], search.peaks.real
    full = guide.modes is not None and parts >= guide.modes
    remedy = f"give the guide more than modes={guide.modes}" if full else "draw by sample_smc"
    lacking = cover.log_evidence - judged.log_evidence
    error = math.hypot(cover.log_evidence_error, judged.log_evidence_error)
    if lacking > SIGMAS * error and lacking > LACKING:
        doubts.append(
            f"draws from around the guide give a log evidence of {cover.log_evidence:.3f}: about "
            f"{-100 * math.expm1(-lacking):.0f} % of the mass lies outside the guide. To cover "
            f"it, {remedy}."
        )
    if judged.k_hat > TRUSTED_K and TRUSTED_ESS <= judged.ess <= NEARLY_EXACT:
        doubts.append(
            f"k-hat is {judged.k_hat:.2f}, above {TRUSTED_K}: the tails of the posterior are "
            "heavier than the guide's, so the evidence and importance-resampled draws cannot be "
            f"trusted. Reparametrise the model (e.g. non-centred), or {remedy}."
        )
    if judged.ess < TRUSTED_ESS:
        doubts.append(
            f"only {100 * judged.ess:.1f} % of the draws count after importance weighting (k-hat "
            f"{judged.k_hat:.2f}): the guide is a poor approximation. Reparametrise the model "
            f"(e.g. non-centred), or {remedy}."
        )
    if guide.modes is not None and len(missed.share):
        places = "; ".join(
            f"{_place(log_joint, z)} with about {100 * share:.1f} % of the mass"
            for z, share in zip(missed.peaks.x, missed.share.tolist(), strict=True)
        )
        doubts.append(
            f"the search found {len(known)} peaks, but the guide has room for {guide.modes}; it "
            f"lacks {places}. Make it with modes={len(known)} or more, or leave modes out."
        )
    weights = torch.softmax(judged.log_weights, 0)
    doubts += model_doubts(log_joint, judged.lost, judged.draws, weights)
    return doubts + search.doubts()


def _place(log_joint: LogJoint, u: Tensor) -> str:
    """The values of the model's sites at ``u`` (dim,), as text."""
    return ", ".join(f"{name} {_brief(v)}" for name, v in log_joint.constrain(u).items())


def mode_lines(weights: Tensor, locations: Mapping[str, Tensor]) -> list[str]:
    """A line of a report for each mode: its weight (modes,), and its place in the model's sites."""
    places = [
        ", ".join(f"{name} {_brief(value[i])}" for name, value in locations.items())
        for i in range(len(weights))
    ]
    return [
        f"    weight {weight:.3f}  {place}"
        for weight, place in zip(weights.tolist(), places, strict=True)
    ]


def _brief(value: Tensor) -> str:
    """A value as text: in full if short, else its first numbers."""
    flat = [f"{v:.4g}" for v in value.flatten().tolist()]
    if value.dim() == 0:
        return flat[0]
    shown = flat if len(flat) <= MOST_SHOWN else [*flat[:SHOWN], "..."]
    return f"[{', '.join(shown)}]"
