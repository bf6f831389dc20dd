"""The fit of a material model to paths of strain and stress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.result import MemoryFit
from lse_vi.materials.training import MemoryRecipe, Paths, as_given, fingerprint, train


def fit_memory(
    model: Elastic,
    strain: Tensor,
    stress: Tensor,
    *,
    times: Tensor | None = None,
    steps: int = 2000,
    batch: int = 64,
    learning_rate: float = 0.02,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> MemoryFit:
    r"""Fit ``model`` in place, by Adam on batches of whole paths with a one-cycle schedule.

    Use it to learn a material from measured or computed paths; :func:`polish_memory` can follow.
    The loss is the mean squared error of all components of the stress. Internal states are not
    observed.

    Args:
        model: an :class:`~lse_vi.Elastic`, :class:`~lse_vi.Memory` or
            :class:`~lse_vi.Play`.
        strain, stress: (paths, times, *event).
        times: (paths, times) or (times,); needed by the clock :class:`~lse_vi.materials.Time`
            alone.
        steps: of Adam.
        batch: paths per step.
        learning_rate: the peak of the schedule.
        seed: for the batches; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 50 steps; an interrupted fit called again with the same
            model, data and settings goes on from it and ends where an uninterrupted one does. With
            a checkpoint, Ctrl-C leaves the model as it was given.

    Raises:
        TypeError: for paths that are no tensors, or of another dtype than the parameters.
        ValueError: for no paths, or paths that disagree in shape or are not finite.
        NonFiniteLossError: when the loss stops being finite; the model has the last good state.

    Example:
        >>> import torch
        >>> from lse_vi import LSEICNN, Isotropic
        >>> strain = 0.1 * torch.rand(8, 20, 1, 1) * torch.eye(3)
        >>> model = Elastic(LSEICNN(3, 2), Isotropic(), strain_unit=0.1)
        >>> result = fit_memory(model, strain, 2.0 * strain, steps=100, progress=False)
        >>> result.history["step"]
        [50, 100]
    """
    common: dict[str, Any] = {"seed": seed, "progress": progress, "checkpoint": checkpoint}
    recipe = MemoryRecipe(steps=steps, batch=batch, learning_rate=learning_rate, **common)
    paths = Paths.of(model, strain, stress, times)
    file = Checkpoint(checkpoint, lambda: fingerprint(model, paths, recipe.decisive()))
    with as_given(model, file):
        return MemoryFit(model, train(model, paths, recipe, file))
