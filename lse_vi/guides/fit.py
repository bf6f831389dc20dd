"""The fit of a multimodal guide to a Pyro model: find the modes, train, prune, judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lse_vi.distribution.bounds import upper_bound
from lse_vi.distribution.density import LSEDensity
from lse_vi.distribution.importance import LaplaceMixture, MomentMixture
from lse_vi.fitting.best_state import snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.steps import Steps
from lse_vi.guides.diagnostics import Cover, importance, missed_modes
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.latent_sites import GUIDE_DRAWS, LatentDensity
from lse_vi.guides.peak_search import Search, find_peaks
from lse_vi.guides.peaks import Peaks
from lse_vi.guides.proposal import Prior, Proposal
from lse_vi.guides.result import GuideResult, report
from lse_vi.guides.training import GuideRecipe, train
from lse_vi.joint.log_joint import LogJoint
from lse_vi.joint.refusals import check_parameters
from lse_vi.network.potential import LSEICNN
from lse_vi.random.turns import alone
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import check_trainable, usable, with_gradients
from lse_vi.signatures.keywords import settle

# Nats of KL(p||q) that a training may cost, as it is known to no more; more if KL(q||p) falls more.
LOST = 0.05
RARE = 0.005  # least acceptance of exact draws from the guide: with less they take minutes
PROBES = 16  # draws of the prior at which the log joint is compared with that of a checkpoint
NEGLIGIBLE = 1e-4  # mass of all modes together that are dropped, so that each draw costs less


@checked
@with_gradients()
def fit_guide(
    model: Callable[..., Any],
    guide: AutoLSEICNN,
    *args: Any,
    recipe: GuideRecipe | None = None,
    **kwargs: Any,
) -> GuideResult:
    r"""Find the modes of a posterior, put the guide on them, and judge how far to trust it.

    Use it for the posterior of a Pyro model that may have several modes. All steps work in the
    prior's units. The guide is trained only where Gaussians on the modes are not enough: the loss
    is minus the ELBO plus Fisher's divergence on importance samples of the guide, which are drawn
    anew every 20 steps; what is kept is the mean of the last steps. The misfit, half the variance
    of E + l on fresh samples, estimates KL(q||p). When it stops falling, a phase of smaller steps
    begins. After two phases the fit ends with the best of the states in which the phases ended, or
    with the state it began with if that covers the posterior better.

    Args:
        model: the Pyro model that the guide was made for.
        guide: an :class:`AutoLSEICNN`.
        args: positional arguments of the model, such as its data.
        recipe: the settings of the fit, a :class:`GuideRecipe`.
        kwargs: keyword arguments of the model, and settings by their names (``steps=500``,
            ``seed=1``, ``progress=False``, ...). If the model has an argument of the name of a
            setting, the keyword goes to the model, and the setting must be given in ``recipe``.

    Raises:
        TypeError: for a guide or a recipe of another type.
        ValueError: for discrete latents whose values cannot be listed, parameters of the model, a
            subsampled plate around a latent, a log joint that is NaN, unbounded or no function of
            the latents alone, and for a checkpoint of a model with an argument whose content has
            no fingerprint (a lambda, say).
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> import torch
        >>> import pyro.distributions as dist, pyro
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
        >>> guide = AutoLSEICNN(model, modes=2)
        >>> res = fit_guide(model, guide, torch.tensor(4.0), steps=100, progress=False)
        >>> res.mode_weights.shape, res.ess > 0.9
        (torch.Size([2]), True)
    """
    check_guide(guide, model)
    args, kwargs = usable((args, kwargs))
    recipe, kwargs = settle("recipe", GuideRecipe, recipe, model, args, kwargs)
    settings = _fingerprint(guide, recipe, args, kwargs) if recipe.checkpoint else {}
    with alone(), seeded(recipe.seed):
        guide.forget()
        log_joint, prior = guide.in_units(*args, **kwargs)
        log_joint(prior.draws[:1])
        check_parameters(log_joint.program.parameters)
        probe = prior.draws[:PROBES]  # where the log joint says what the model's code reads
        file = Checkpoint(
            recipe.checkpoint, lambda: {**settings, "model": log_joint(probe).double().tolist()}
        )
        taken = Steps(file, prior.draws.device)
        search = known_search(taken, log_joint, prior)
        pot = known_start(taken, guide, search, log_joint, prior)
        # Random points are enough to say where to draw: in 2-D, quadrature of many modes is slow.
        density = LatentDensity(pot, method=LaplaceMixture(GUIDE_DRAWS))
        cover = Cover.draw(Proposal.of_guide(density, prior), log_joint)
        _balance_(pot, density, cover)
        # One density for each state: its integrals are what takes time.
        start, density = snapshot(pot), guide.density(pot)
        before = cover.divergence(density)
        try:
            history = train(pot, log_joint, recipe, taken)
        except NonFiniteLossError as error:
            guide.install(error.potential, log_joint)
            raise
        # A training raises the ELBO, which knows nothing of a mode that the guide has lost.
        gained = history["elbo"][-1] - history["elbo"][0]
        if len(history["step"]) > 1:
            density = guide.density(pot)
        if cover.divergence(density) - before > max(gained, LOST) or _acceptance(pot) < RARE:
            pot.load_state_dict(start)
            density = guide.density(pot)
        kept = _pruned(pot, density.mode_weights)
        if kept is not pot:
            pot, density = kept, guide.density(kept)
        judged = importance(density, log_joint)
        missed = missed_modes(search.peaks.real, density, judged.log_evidence)
    result, order = report(guide, density, log_joint, search, judged, cover, missed, history)
    guide.install(pot, log_joint)
    # In the order of the result, so that a mode has the same number in the draws by sample_smc.
    guide.search = search._replace(peaks=search.peaks.real.first(order).outside(log_joint))
    return result


def known_search(taken: Steps, log_joint: LogJoint, prior: Prior) -> Search:
    """What :func:`find_peaks` finds, or has found before an interruption."""

    def found() -> list[Any]:
        search = find_peaks(log_joint, prior.draws)
        return [vars(search.peaks), *search[1:]]

    peaks, *rest = taken.take("search", found)
    return Search(
        Peaks(**{name: part.to(prior.draws.device) for name, part in peaks.items()}), *rest
    )


def known_start(
    taken: Steps, guide: AutoLSEICNN, search: Search, log_joint: LogJoint, prior: Prior
) -> LSEICNN:
    """A potential on the peaks of ``search``, as it is made or was before an interruption."""
    state = taken.take("start", lambda: snapshot(guide.placed_on(search.peaks, log_joint, prior)))
    pot = guide.blank(len(state["alpha"]), like=prior.draws)
    pot.load_state_dict(state)
    return pot


def check_guide(guide: Any, model: Callable[..., Any]) -> None:
    """``guide`` must be an :class:`AutoLSEICNN` of ``model``."""
    if not isinstance(guide, AutoLSEICNN):
        raise TypeError(f"guide must be an AutoLSEICNN, but got {type(guide).__name__}")
    check_trainable("guide", guide)
    guide.adopt(model)
    if not guide.is_for(model):
        raise ValueError("model must be the one that the guide was made for: AutoLSEICNN(model)")


@torch.no_grad()
def _balance_(pot: LSEICNN, density: LSEDensity, cover: Cover) -> None:
    """Set the mass of each mode to its share of the posterior, by one EM step."""
    share = torch.softmax(cover.log_weights, 0) @ pot.responsibilities(cover.draws)
    ratio = share / density.mode_weights
    used = ratio.isfinite() & (ratio > 0)
    pot.network.add_offset_(-torch.where(used, ratio, 1.0).log())


def _acceptance(pot: LSEICNN) -> float:
    """The share of the envelope's draws that become exact draws of exp(-E), at least."""
    bound = upper_bound(pot, None)
    with torch.no_grad():
        log_z = MomentMixture().rule(pot, None).log_normalizer(pot)
    return math.exp(float(log_z - bound.log_mass))


def _pruned(pot: LSEICNN, weights: Tensor) -> LSEICNN:
    """``pot`` without its lightest modes, which hold a negligible mass all together."""
    order = weights.argsort()
    lost = weights[order].cumsum(0) < NEGLIGIBLE
    if not bool(lost.any()):
        return pot
    keep = torch.ones_like(weights, dtype=torch.bool)
    keep[order[lost]] = False
    return pot.prune(keep)


def _fingerprint(
    guide: AutoLSEICNN, recipe: GuideRecipe, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """Fingerprints of all that the fit depends on, except for the model."""
    of_guide = (guide.modes, guide.hidden, guide.init_scale, guide.method)
    return {
        "data": digest([args, kwargs]),
        "settings": digest([of_guide, recipe.decisive()]),
    }
