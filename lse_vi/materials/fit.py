"""Fit of a material model to paths of strain and stress: one visible loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lse_vi.checks import check_count, check_finite, check_positive
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.schedule import warm_up
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.paths import select
from lse_vi.materials.result import MemoryFit

REFRESH = 50  # steps between entries of the history and checkpoints


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
        >>> from lse_vi import LSEICNN, Isotropic
        >>> from lse_vi.materials import Elastic
        >>> strain = 0.1 * torch.rand(8, 20, 1, 1) * torch.eye(3)
        >>> model = Elastic(LSEICNN(3, 2), Isotropic(), strain_unit=0.1)
        >>> result = fit_memory(model, strain, 2.0 * strain, steps=100, progress=False)
        >>> result.history["step"]
        [50, 100]
    """
    check_count("steps", steps)
    check_count("batch", batch)
    check_positive("learning_rate", learning_rate)
    check_count("seed", seed, minimum=0)
    prepared, target = make_ready(model, strain, stress, times)
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps, pct_start=warm_up(0.2, steps)
    )
    file = Checkpoint(
        checkpoint,
        lambda: {
            "data": digest((*prepared, target)),
            "model": digest(model.state_dict().values()),
            "schedule": repr((steps, batch, learning_rate, seed)),
        },
    )
    first, losses = 0, []
    history: dict[str, list[float]] = {"step": [], "loss": []}
    if saved := file.load():
        first, history = saved["step"], saved["history"]
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        generator.set_state(saved["generator"])

    bar = tqdm(range(first, steps), type(model).__name__, initial=first, total=steps,
               disable=not progress)  # fmt: skip
    for step in bar:
        paths = torch.randperm(strain.shape[0], generator=generator)[:batch].to(strain.device)
        part = select(prepared, paths)
        error = model.unit_stress(part, model.march(part)) - target[:, paths]
        loss = error.square().mean()
        optimiser.zero_grad()
        loss.backward()
        # Sharp switches make rare steep gradients; one of them can undo a thousand steps.
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if not bool(torch.isfinite(loss.detach() + norm)):
            raise NonFiniteLossError(step, model.potential)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % REFRESH == 0 or step + 1 == steps:
            history["step"].append(step + 1)
            history["loss"].append(sum(losses) / len(losses))
            bar.set_postfix(loss=f"{history['loss'][-1]:.2e}", refresh=False)
            losses.clear()
            file.save(
                {
                    "step": step + 1,
                    "history": history,
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "generator": generator.get_state(),
                }
            )
    return MemoryFit(model, history)


def make_ready(
    model: Elastic, strain: Tensor, stress: Tensor, times: Tensor | None
) -> tuple[Any, Tensor]:
    """What :meth:`~lse_vi.materials.Elastic.prepare` gives, and the stress as it is to be met."""
    shape = ("paths", "times", *model.invariants.event_shape)
    for name, given in (("strain", strain), ("stress", stress)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a tensor, but got {type(given).__name__}")
        if given.dim() != len(shape) or not given.numel():
            raise ValueError(
                f"{name} must have shape ({', '.join(map(str, shape))}) with one path or more, "
                f"but got {tuple(given.shape)}"
            )
    if stress.shape != strain.shape:
        raise ValueError(
            f"stress must have the shape of strain, {tuple(strain.shape)}, but got "
            f"{tuple(stress.shape)}"
        )
    check_finite("stress", stress)
    target = (stress / model.stress_unit).transpose(0, 1)  # (times, paths, *event)
    return model.prepare(strain, times), target
