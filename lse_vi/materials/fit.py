"""Fit of a material model to paths of strain and stress: the public function."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.result import MemoryFit
from lse_vi.materials.training import MemoryRecipe, Paths, fingerprint, train


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
    r"""Fit ``model`` in place, by Adam on batches of whole paths, one-cycle schedule.

    The loss is the mean squared error of all components of the stress; internal states are not
    observed.

    Args:
        model: an :class:`~lse_vi.materials.Elastic`, Memory or Play.
        strain, stress: (paths, times, *event).
        times: (paths, times) or (times,), for a model that goes by time.
        steps: of Adam.
        batch: paths per step.
        learning_rate: its peak.
        seed: of the batches; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 50 steps; an interrupted fit called again with the same
            model, data and settings goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for paths that are no tensors, or of another dtype than the parameters.
        ValueError: for paths that disagree in shape, are none or are not finite.
        NonFiniteLossError: when the loss stops being finite; the model is the last good one.

    Example:
        >>> import torch
        >>> from lse_vi import LSEICNN, Isotropic
        >>> strain = 0.1 * torch.rand(8, 20, 1, 1) * torch.eye(3)
        >>> model = Elastic(LSEICNN(3, 2), Isotropic(), strain_unit=0.1)
        >>> result = fit_memory(model, strain, 2.0 * strain, steps=100, progress=False)
        >>> result.history["step"]
        [50, 100]
    """
    recipe = MemoryRecipe(
        steps=steps, batch=batch, learning_rate=learning_rate, seed=seed, progress=progress,
        checkpoint=checkpoint,
    )  # fmt: skip
    paths = Paths.of(model, strain, stress, times)
    file = Checkpoint(checkpoint, lambda: fingerprint(model, paths, recipe.decisive()))
    return MemoryFit(model, train(model, paths, recipe, file))
