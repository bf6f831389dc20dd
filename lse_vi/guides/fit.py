"""Fit of a multimodal guide to a Pyro model: find the modes, train, prune, and judge the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.keywords import settle
from lse_vi.fitting.random_state import seeded
from lse_vi.guides.diagnostics import importance, missed_modes
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.peak_search import find_peaks
from lse_vi.guides.result import GuideResult, report
from lse_vi.guides.training import GuideRecipe, train


def fit_guide(
    model: Callable[..., Any],
    guide: AutoLSEICNN,
    *args: Any,
    recipe: GuideRecipe | None = None,
    **kwargs: Any,
) -> GuideResult:
    r"""Find the modes of a posterior, train the guide on them, and say how far to trust it.

    The loss is minus the ELBO on importance samples of the guide, drawn anew every 20 steps, with
    Fisher's divergence beside it at first. Half the variance of E + l on fresh samples, the misfit,
    estimates KL(q||p): where it stops falling, a phase of smaller steps begins, and after three
    phases the fit ends with the best state that a phase ended in.

    Args:
        model: the Pyro model that the guide was made for.
        guide: an :class:`AutoLSEICNN`.
        args: what the model is called with: its data.
        recipe: the settings of the fit; :class:`GuideRecipe` says what they are.
        kwargs: further arguments of the model, and settings by their names (``steps=500``,
            ``seed=1``, ``progress=False``, ...). A name that is an argument of the model is the
            model's: the setting of that name is then given in ``recipe``.

    Raises:
        TypeError: for a guide or a recipe that is none.
        ValueError: for a model with discrete latents or a subsampled plate, for a log joint that
            is NaN or unbounded, and for a checkpoint of a model whose arguments cannot be told
            from others (a lambda, say).
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
    if not isinstance(guide, AutoLSEICNN):
        raise TypeError(f"guide must be an AutoLSEICNN, but got {type(guide).__name__}")
    if not guide.is_for(model):
        raise ValueError("model must be the one that the guide was made for: AutoLSEICNN(model)")
    recipe, kwargs = settle("recipe", GuideRecipe, recipe, model, args, kwargs)
    file = Checkpoint(recipe.checkpoint, lambda: _fingerprint(guide, recipe, args, kwargs))
    with seeded(recipe.seed):
        log_joint = guide.log_joint(*args, **kwargs)
        search = find_peaks(log_joint, guide.prior_draws(*args, **kwargs))
        guide.start_on(search.peaks, log_joint)
        history = train(guide.potential, log_joint, recipe, file)
        guide.prune()
        density, prior = guide.get_posterior(), guide.prior_draws(*args, **kwargs)
        judged = importance(density, log_joint)
        missed = missed_modes(log_joint, density, prior, judged.log_evidence)
    return report(guide, log_joint, search.peaks, judged, missed, history)


def _fingerprint(
    guide: AutoLSEICNN, recipe: GuideRecipe, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """What the fit depends on, besides the model's code."""
    of_guide = (guide.modes, guide.hidden, guide.init_scale, guide.method)
    return {
        "data": digest([args, kwargs]),
        "settings": digest([of_guide, recipe.decisive()]),
    }
