"""Fit of a multimodal guide to a Pyro model: find the modes, train, prune, and judge the result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lse_vi.bounds import mode_minima
from lse_vi.checkpoint import Checkpoint
from lse_vi.checks import check_count, check_positive
from lse_vi.diagnostics import Importance, Missed, importance, missed_modes
from lse_vi.guide import AutoLSEICNN
from lse_vi.guide_training import Recipe, train
from lse_vi.log_joint import LogJoint
from lse_vi.peaks import Peaks, climb

TRUSTED_K, TRUSTED_ESS = 0.7, 0.05


@dataclass
class GuideResult:
    """What :func:`fit_guide` found; prints as a report.

    Attributes:
        guide: the trained guide.
        elbo, elbo_error: evidence lower bound and its standard deviation, in nats.
        log_evidence, log_evidence_error: log p(data) by importance sampling from the guide, and
            its standard deviation.
        ess: effective sample size of the importance weights, as a share of the draws.
        k_hat: Pareto shape of the weights; above 0.7 they cannot be trusted.
        mode_weights: the guide's mass around each peak of the posterior, (peaks,), largest first.
        mode_locations: the peaks in the model's own sites, each (peaks, *shape).
        missed: peaks found outside the guide afterwards, with their share of the mass.
        warnings: what speaks against trusting the result, in words; empty if nothing does.
        history: lists ``step``, ``elbo``, ``misfit``.
    """

    guide: AutoLSEICNN = field(repr=False)
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    k_hat: float
    mode_weights: Tensor
    mode_locations: dict[str, Tensor]
    missed: Missed = field(repr=False)
    warnings: tuple[str, ...]
    history: dict[str, list[float]] = field(repr=False)

    def __str__(self) -> str:
        count = len(self.mode_weights)
        lines = [
            f"fit of AutoLSEICNN: {count} mode{'s' if count > 1 else ''}, "
            f"{self.guide.potential.modes} convex parts, {self.guide.latent_dim} dimensions",
            f"ELBO {self.elbo:.4f} +- {self.elbo_error:.4f}, log evidence {self.log_evidence:.4f} "
            f"+- {self.log_evidence_error:.4f} nats",
            f"importance ESS {100 * self.ess:.1f} % of the draws, k-hat {self.k_hat:.2f}",
        ]
        for i, weight in enumerate(self.mode_weights.tolist()):
            at = ", ".join(f"{name} {_brief(v[i])}" for name, v in self.mode_locations.items())
            lines.append(f"    weight {weight:.3f}  {at}")
        return "\n".join(lines + [f"WARNING: {text}" for text in self.warnings])


def fit_guide(
    model: Callable[..., Any],
    guide: AutoLSEICNN,
    *args: Any,
    steps: int = 2000,
    learning_rate: float = 0.03,
    tolerance: float = 1e-3,
    samples: int = 2048,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    **kwargs: Any,
) -> GuideResult:
    r"""Find the modes of a posterior, train the guide on them, and say how far to trust it.

    The loss is :func:`~lse_vi.elbo.rule_elbo` on importance samples of the guide, drawn anew every
    20 steps. Half the variance of E + l on fresh samples estimates KL(q||p); whenever it stops
    falling, the learning rate is divided by 4, and the fourth time the fit ends.

    Args:
        model: the Pyro model that the guide was made for.
        guide: an :class:`AutoLSEICNN`.
        args, kwargs: what the model is called with: its data.
        steps: the largest number of Adam steps.
        learning_rate: of the first phase.
        tolerance: misfit, in nats, at which there is nothing left to gain.
        samples: importance samples of the guide in use at a time.
        seed: makes the fit reproducible; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 20 steps; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        ValueError: for a model with discrete latents or a subsampled plate, and for a log joint
            that is NaN or unbounded.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> import pyro.distributions as dist, pyro
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
        >>> guide = AutoLSEICNN(model, modes=2)
        >>> res = fit_guide(model, guide, torch.tensor(4.0), steps=100, progress=False)
        >>> res.mode_weights.shape, res.warnings
        (torch.Size([2]), ())
    """
    check_count("steps", steps)
    check_count("samples", samples, 2)
    check_positive("learning_rate", learning_rate)
    check_positive("tolerance", tolerance)
    if not isinstance(guide, AutoLSEICNN):
        raise TypeError(f"guide must be an AutoLSEICNN, but got {type(guide).__name__}")
    file = Checkpoint(
        checkpoint,
        {
            "data": _digest((args, kwargs)),
            "settings": repr((guide.modes, guide.hidden, steps, learning_rate, samples, seed)),
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_joint = guide.log_joint(*args, **kwargs)
        search = guide.find_modes(*args, **kwargs)
        known = search.peaks
        recipe = Recipe(steps, learning_rate, tolerance, samples, progress)
        history = train(guide.potential, log_joint, recipe, file)
        guide.prune()
        judged = importance(guide.get_posterior(), log_joint)
        missed = missed_modes(
            log_joint,
            guide.get_posterior(),
            guide.prior_draws(*args, **kwargs),
            judged.log_evidence,
        )
    return _result(guide, log_joint, known, judged, missed, history)


def _result(
    guide: AutoLSEICNN,
    log_joint: LogJoint,
    known: Peaks,
    judged: Importance,
    missed: Missed,
    history: dict[str, list[float]],
) -> GuideResult:
    weights, at = _by_peak(guide, log_joint, known)
    order = weights.argsort(descending=True)
    rows = [guide.constrain(z) for z in known.x[at[order]]]
    return GuideResult(
        guide=guide,
        elbo=judged.elbo,
        elbo_error=judged.elbo_error,
        log_evidence=judged.log_evidence,
        log_evidence_error=judged.log_evidence_error,
        ess=judged.ess,
        k_hat=judged.k_hat,
        mode_weights=weights[order],
        mode_locations={name: torch.stack([row[name] for row in rows]) for name in rows[0]},
        missed=missed,
        warnings=tuple(_doubts(guide, known, judged, missed)),
        history=history,
    )


@torch.no_grad()
def _by_peak(guide: AutoLSEICNN, log_joint: LogJoint, peaks: Peaks) -> tuple[Tensor, Tensor]:
    """Mass of the guide around each peak that has some, and the indices of those peaks.

    A draw belongs to the peak that the minimum of its convex part climbs to.
    """
    density = guide.get_posterior()
    summits = climb(log_joint, mode_minima(guide.potential).x)
    peak = peaks.distance(summits).argmin(1)
    mass = torch.zeros(len(peaks)).to(density.mode_weights)
    mass.index_add_(0, peak, density.mode_weights)
    at = mass.nonzero().squeeze(1)
    return mass[at], at


def _doubts(guide: AutoLSEICNN, known: Peaks, judged: Importance, missed: Missed) -> list[str]:
    """Reasons not to trust the fit, each with what to do."""
    doubts = []
    if judged.k_hat > TRUSTED_K:
        doubts.append(
            f"k-hat is {judged.k_hat:.2f}, above {TRUSTED_K}: the tails of the posterior are "
            "heavier than the guide's, so the evidence and importance-resampled draws cannot be "
            "trusted. Reparametrise the model (e.g. non-centred), or give the guide more modes."
        )
    if judged.ess < TRUSTED_ESS:
        doubts.append(
            f"only {100 * judged.ess:.1f} % of the draws count after importance weighting: the "
            "guide is a poor approximation. Give it more modes or more steps."
        )
    if len(known) > guide.modes:
        doubts.append(
            f"the search found {len(known)} peaks, but the guide has room for {guide.modes}: make "
            f"it with modes={len(known)} or more."
        )
    if not bool(known.proper.all()):
        doubts.append(
            "the log joint has no maximum in some direction (as in the neck of a funnel), so the "
            "fit starts from a point on the way. Reparametrise the model (e.g. non-centred)."
        )
    if len(missed.share):
        places = "; ".join(
            f"{_place(guide, z)} with about {100 * share:.1f} % of the mass"
            for z, share in zip(missed.peaks.x, missed.share.tolist(), strict=True)
        )
        doubts.append(
            f"a fresh search found {len(missed.share)} peak(s) outside the guide: {places}. Fit "
            "again with more modes."
        )
    return doubts


def _place(guide: AutoLSEICNN, z: Tensor) -> str:
    return ", ".join(f"{name} {_brief(v)}" for name, v in guide.constrain(z).items())


def _brief(value: Tensor) -> str:
    """A value in a table: all of it if short."""
    flat = [f"{v:.4g}" for v in value.flatten().tolist()]
    if value.dim() == 0:
        return flat[0]
    shown = flat if len(flat) <= 6 else [*flat[:5], "..."]
    return f"[{', '.join(shown)}]"


def _digest(arguments: Any) -> str:
    """A hash of all tensors in the model's arguments, and the form of the rest."""
    leaves, form = pytree.tree_flatten(arguments)
    digest = hashlib.sha256(str(form).encode())
    for leaf in leaves:
        content = leaf.detach().cpu().numpy().tobytes() if isinstance(leaf, Tensor) else repr(leaf)
        digest.update(content if isinstance(content, bytes) else content.encode())
    return digest.hexdigest()
