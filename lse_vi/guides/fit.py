"""Fit of a multimodal guide to a Pyro model: find the modes, train, prune, and judge the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from lse_vi.checks import check_count, check_positive
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest
from lse_vi.guides.diagnostics import importance, missed_modes
from lse_vi.guides.guide import AutoLSEICNN
from lse_vi.guides.result import GuideResult, report
from lse_vi.guides.training import Recipe, train


def fit_guide(
    model: Callable[..., Any],
    guide: AutoLSEICNN,
    *args: Any,
    steps: int = 2000,
    learning_rate: float = 0.03,
    tolerance: float = 1e-3,
    samples: int = 4096,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
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
        ValueError: for a model with discrete latents or a subsampled plate, for a log joint that
            is NaN or unbounded, and for a checkpoint of a model whose arguments are other than
            tensors, arrays, numbers, strings, and containers of them.
        NonFiniteLossError: when the loss stops being finite, with the last good state.

    Example:
        >>> import pyro.distributions as dist, pyro
        >>> def model(y):
        ...     x = pyro.sample("x", dist.Normal(0.0, 3.0))
        ...     pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
        >>> guide = AutoLSEICNN(model, modes=2)
        >>> res = fit_guide(model, guide, torch.tensor(4.0), steps=100, progress=False)
        >>> res.mode_weights.shape, res.ess > 0.9
        (torch.Size([2]), True)
    """
    check_count("steps", steps)
    check_count("samples", samples, 2)
    check_positive("learning_rate", learning_rate)
    check_positive("tolerance", tolerance)
    if not isinstance(guide, AutoLSEICNN):
        raise TypeError(f"guide must be an AutoLSEICNN, but got {type(guide).__name__}")
    if not guide.is_for(model):
        raise ValueError("model must be the one that the guide was made for: AutoLSEICNN(model)")
    recipe = Recipe(steps, learning_rate, tolerance, samples, progress)
    file = Checkpoint(checkpoint, lambda: _fingerprint(guide, recipe, seed, (args, kwargs)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_joint = guide.log_joint(*args, **kwargs)
        search = guide.find_modes(*args, **kwargs)
        history = train(guide.potential, log_joint, recipe, file)
        guide.prune()
        density, prior = guide.get_posterior(), guide.prior_draws(*args, **kwargs)
        judged = importance(density, log_joint)
        missed = missed_modes(log_joint, density, prior, judged.log_evidence)
    return report(guide, log_joint, search.peaks, judged, missed, history)


def _fingerprint(guide: AutoLSEICNN, recipe: Recipe, seed: int, arguments: Any) -> dict[str, str]:
    """What the fit depends on, besides the model's code."""
    leaves, form = pytree.tree_flatten(arguments)
    of_guide = (guide.modes, guide.hidden, guide.init_scale, guide.method)
    of_fit = (recipe.steps, recipe.learning_rate, recipe.tolerance, recipe.samples, seed)
    return {"data": digest([str(form), *leaves]), "settings": repr((of_guide, of_fit))}
