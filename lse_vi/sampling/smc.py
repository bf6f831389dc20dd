"""Draws of a posterior by sequential Monte Carlo from around the modes of a guide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.distribution.density import LSEDensity
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import reseed, seeded
from lse_vi.fitting.steps import Steps
from lse_vi.guides.diagnostics import model_doubts, uncovered
from lse_vi.guides.fit import PROBES, check_guide, known_search, known_start
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.peak_search import Search, climb
from lse_vi.guides.peaks import Peaks
from lse_vi.guides.proposal import WIDER, Prior, Proposal
from lse_vi.joint.log_joint import LogJoint
from lse_vi.network.potential import LSEICNN
from lse_vi.numerics.tempering import Tempered, WithMoves, temper
from lse_vi.random.turns import alone
from lse_vi.sampling.draws import PosteriorDraws
from lse_vi.sampling.hamiltonian import FrameMoves
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import usable, with_gradients
from lse_vi.signatures.keywords import settle

PILOT = 1024  # draws that say how large a share the prior gets of the first draws
LEAST_DRAWS = 4  # of an island: halves of two draws are what R-hat needs
LIGHT = (
    1e-3  # share of the mass below which a peak that the guide lacks is left to the prior's draws
)
SAME = 1e-3  # nats, relative: peaks whose log joint differs by more were found for other data
TRUSTED_R_HAT = 1.05  # above which islands disagree (Vehtari et al. 2021: 1.01 for long chains)


@checked
@dataclass(frozen=True, kw_only=True)
class SMCSettings:
    """The settings of :func:`~lse_vi.sample_smc` as one object.

    Use it if the model has an argument of the name of a setting.

    Args:
        draws: number of draws, of all islands together.
        islands: number of independent runs, among which the draws are shared out.
        seed: makes the draws reproducible; the global random state is left alone.
        progress: show a bar.
        checkpoint: a file to write after the search and after each stage; an interrupted call with
            the same arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for numbers that are no integers.
        ValueError: for fewer than two islands, or fewer than four draws for each.

    Example:
        >>> SMCSettings(draws=2000).islands
        4
    """

    draws: int = 4000
    islands: int = 4
    seed: int = 0
    progress: bool = True
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        check_count("islands", self.islands, 2)
        check_count("draws", self.draws, LEAST_DRAWS * self.islands)
        check_count("seed", self.seed, minimum=0)


@checked
@with_gradients()
def sample_smc(
    model: Callable[..., Any],
    guide: AutoLSEICNN,
    *args: Any,
    settings: SMCSettings | None = None,
    **kwargs: Any,
) -> PosteriorDraws:
    r"""Draws of the posterior of a Pyro model, right in the limit of many draws.

    Use it for draws, weights of modes and an evidence that do not rest on how well the guide fits.
    Draws of a mixture of wide laws around the guide's modes, with one part as wide as the prior,
    are carried to the posterior in stages (sequential Monte Carlo, Del Moral et al. 2006); where
    the modes cover the posterior well, one stage is enough. The guide should have been fitted by
    :func:`~lse_vi.fit_guide` or started by its :meth:`~lse_vi.AutoLSEICNN.find_modes`; otherwise
    that is done here.

    Args:
        model: the Pyro model that the guide was made for.
        guide: an :class:`~lse_vi.AutoLSEICNN`.
        args: positional arguments of the model, such as its data.
        settings: a :class:`SMCSettings`.
        kwargs: keyword arguments of the model, and settings by their names (``draws=8000``, ...).
            If the model has an argument of the name of a setting, the keyword goes to the model.

    Raises:
        TypeError: for a guide or settings of another type.
        ValueError: for another model than the guide's, or one that :func:`~lse_vi.fit_guide` could
            not use either, and for the checkpoint of another call.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
        >>> guide = AutoLSEICNN(model)
        >>> res = sample_smc(model, guide, torch.tensor(4.0), draws=400, progress=False)
        >>> res.samples["x"].shape, len(res.mode_weights)
        (torch.Size([4, 100]), 2)
    """
    check_guide(guide, model)
    args, kwargs = usable((args, kwargs))
    chosen, kwargs = settle("settings", SMCSettings, settings, model, args, kwargs)
    with alone(), seeded(chosen.seed), torch.no_grad():
        guide.log_joint(*args, **kwargs)  # a new guide meets its model, which draws
        reseed(chosen.seed)
        log_joint, prior = guide.in_units(*args, **kwargs)
        probe = prior.draws[:PROBES]
        known = lambda: {  # noqa: E731
            **_fingerprint(guide, chosen, args, kwargs),
            "model": log_joint(probe).double().tolist(),
        }
        taken = Steps(Checkpoint(chosen.checkpoint, known), probe.device)
        search, pot = _start(guide, log_joint, prior, taken)
        proposal = _on_all_peaks(guide.density(pot), search.peaks.real, prior)
        pilot, part = proposal.sample(PILOT)
        value, log_prior = log_joint.with_prior(pilot)
        proposal = proposal.weighed(pilot, value, log_prior)
        moves, n = FrameMoves(log_joint, proposal), chosen.draws // chosen.islands
        starts = [proposal.sample(n) for _ in range(chosen.islands)]
        x, parts = map(torch.cat, zip(*starts, strict=True))
        population = moves.look(x)
        notes = WithMoves(taken, moves, "step", "evaluations")
        run: dict[str, Any] = {"islands": chosen.islands, "progress": chosen.progress}
        end = temper(population, moves, strata=parts, notes=notes, **run)
        own = value[part < len(proposal.loc) - 1]  # of the guide's parts, not as wide as the prior
        lost = float((own == -torch.inf).sum()) / max(1, len(own))
        draws = _report(log_joint, search, proposal, end, moves.evaluations, lost)
        if guide.search is None:
            guide.install(pot, log_joint)
            guide.search = search._replace(peaks=search.peaks.outside(log_joint))
        return draws


def _start(
    guide: AutoLSEICNN, log_joint: LogJoint, prior: Prior, taken: Steps
) -> tuple[Search, LSEICNN]:
    """The search behind the guide and its potential, in the units of ``log_joint``.

    The search is made anew for other data, and both for a guide without one.
    """
    if guide.search is None:
        search = known_search(taken, log_joint, prior)
        return search, known_start(taken, guide, search, log_joint, prior)
    pot, known = guide.potential_in(log_joint), guide.search.peaks.inside(log_joint)
    value = log_joint(known.x)
    if torch.allclose(value, known.log_joint.to(value), rtol=SAME, atol=SAME):
        return guide.search._replace(peaks=known), pot
    return known_search(taken, log_joint, prior), pot


def _on_all_peaks(density: LSEDensity, peaks: Peaks, prior: Prior) -> Proposal:
    """The parts of a guide, the peaks for which it has no room, and the prior."""
    law, total = Proposal.of_guide(density, prior), peaks.log_mass.logsumexp(0)
    more = uncovered(peaks, density, float(total))
    more = more.select(more.log_mass > total + math.log(LIGHT))
    if not len(more):
        return law
    share = (more.log_mass - total).exp()
    # A guide that covers no peak keeps a little: what rounding leaves of one may be negative.
    own = (1 - share.sum()).clamp_min(LIGHT)
    share = share / (own + share.sum())
    return replace(
        law,
        loc=torch.cat([law.loc[:-1], more.x, law.loc[-1:]]),
        root=torch.cat([law.root[:-1], math.sqrt(WIDER) * more.scale_tril, law.root[-1:]]),
        log_share=torch.cat(
            [
                law.log_share[:-1] + torch.log1p(-share.sum()),
                share.log() + torch.log1p(-law.log_share[-1].exp()),
                law.log_share[-1:],
            ]
        ),
    )


def _fingerprint(
    guide: AutoLSEICNN, settings: SMCSettings, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, str]:
    """Fingerprints of all that the draws depend on, except for the model.

    The parameters of a guide whose modes are not known are of no account.
    """
    used = None if guide.search is None else [guide.potential, vars(guide.search.peaks)]
    kind = (guide.modes, guide.hidden, guide.init_scale, guide.method)
    return {
        "data": digest([args, kwargs]),
        "guide": digest([used, kind]),
        "settings": digest([settings.draws, settings.islands, settings.seed]),
    }


def _report(
    log_joint: LogJoint,
    search: Search,
    proposal: Proposal,
    end: Tempered,
    evaluations: int,
    lost: float,
) -> PosteriorDraws:
    """The draws as users see them; ``lost`` is the share of the guide's without density."""
    islands, peaks = len(end.log_evidence), search.peaks.real
    x = end.population["x"].unflatten(0, (islands, -1))
    part = end.population["each"][:, :-1].argmax(1)  # the last is as wide as the prior
    mode = _peak_of_part(log_joint, peaks, proposal)[part].unflatten(0, (islands, -1))
    weights = torch.bincount(mode.flatten(), minlength=len(peaks)) / mode.numel()
    values = log_joint.values(x)
    rows = [log_joint.constrain(u) for u in peaks.x]
    spread = float(end.log_evidence.var())
    # Both estimate the same: from four islands alone the error would be known to a factor of two.
    variance = 0.5 * (spread + float(end.variance.mean())) / islands
    r_hat = split_gelman_rubin(x, chain_dim=0, sample_dim=1)
    ess = effective_sample_size(x, chain_dim=0, sample_dim=1)
    doubts = []
    if float(r_hat.max()) > TRUSTED_R_HAT:
        doubts.append(
            f"R-hat is {float(r_hat.max()):.3f}: the islands disagree. Take more draws, or fit the "
            "guide first."
        )
    if names := log_joint.program.parameters:
        doubts.append(f"parameters of the model stay as they are: {', '.join(names)}.")
    every = x.flatten(0, 1)
    doubts += model_doubts(log_joint, lost, every, every.new_full((len(every),), 1 / len(every)))
    # The prior reaches wherever the posterior does.
    doubts += search.doubts(necks_met=proposal.prior is not None)
    return PosteriorDraws(
        samples=values,
        mode=mode,
        mode_weights=weights.to(x),
        mode_locations={name: torch.stack([row[name] for row in rows]) for name in rows[0]},
        log_evidence=float(end.log_evidence.logsumexp(0)) - math.log(islands),
        log_evidence_error=math.hypot(math.sqrt(variance), search.unseen),
        r_hat=float(r_hat.max()),
        ess=float(ess.min()),
        stages=end.stages,
        evaluations=evaluations,
        warnings=tuple(doubts),
    )


def _peak_of_part(log_joint: LogJoint, peaks: Peaks, proposal: Proposal) -> Tensor:
    """The index of the peak to which each part of the guide belongs, (parts - 1,)."""
    return peaks.distance(climb(log_joint, proposal.loc[:-1])).argmin(1)
