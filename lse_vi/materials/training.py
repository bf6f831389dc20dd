"""The training of a material model: Adam on batches of whole paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lse_vi.checks import check_count, check_finite
from lse_vi.fitting.best_state import snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.history import History, note
from lse_vi.fitting.recipe import Recipe
from lse_vi.fitting.schedule import warm_up
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.paths import select
from lse_vi.progress.bars import Bar
from lse_vi.signatures.gradients import check_trainable, usable

RECORD_STEPS = 50  # steps between entries of the history, means of so many losses, and checkpoints
RISE_SHARE = 0.2  # of the steps, in which the learning rate rises: random states need a slow start
# Norm to which a gradient of the loss, in units of stress_unit^2, is clipped: states that switch
# sharply make a few gradients so large that one could undo a thousand steps.
MOST_GRADIENT = 1.0


@dataclass(frozen=True, kw_only=True)
class MemoryRecipe(Recipe):
    """How a material model is trained.

    Args:
        batch: number of paths of a step.
    """

    batch: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("batch", self.batch)


class Paths(NamedTuple):
    """The data of a fit, prepared for a model.

    Attributes:
        prepared: the strains, as :meth:`~lse_vi.Elastic.prepare` returns them.
        target: the stress to fit, in units of ``stress_unit``, (times, paths, *event).
    """

    prepared: Any
    target: Tensor

    @classmethod
    def of(cls, model: Elastic, strain: Any, stress: Any, times: Tensor | None) -> Paths:
        """Check the paths that the user gives, and prepare them for ``model``.

        Raises:
            TypeError: for strains or stresses that are no tensors.
            ValueError: for shapes that disagree, no paths, or entries that are not finite.
        """
        check_trainable("model", model)
        strain, stress, times = usable((strain, stress, times))
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
        target = (stress / model.stress_unit).transpose(0, 1)
        return cls(model.prepare(strain, times), target)

    def residuals(self, model: Elastic) -> Tensor:
        """Errors of the model's stress, in units of ``stress_unit``, (times, paths, *event)."""
        return model.unit_stress(self.prepared, model.march(self.prepared)) - self.target

    def pick(self, paths: Tensor) -> Paths:
        """The paths at the indices ``paths``."""
        return Paths(select(self.prepared, paths), self.target[:, paths])


def train(model: Elastic, paths: Paths, recipe: MemoryRecipe, file: Checkpoint) -> History:
    """Train ``model`` in place, and return the history; resumes a checkpoint if there is one.

    Raises:
        NonFiniteLossError: when the loss or its gradient stops being finite.
    """
    steps, count, device = recipe.steps, paths.target.shape[1], paths.target.device
    generator = torch.Generator().manual_seed(recipe.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=warm_up(RISE_SHARE, steps)
    )
    first, history, losses = 0, History(), list[float]()
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "schedule": schedule}
    if saved := file.load():
        first, history = saved["step"], saved["history"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        generator.set_state(saved["generator"])

    title = type(model).__name__
    bar = Bar(range(first, steps), title, initial=first, total=steps, disable=not recipe.progress)
    for step in bar:
        chosen = torch.randperm(count, generator=generator)[: recipe.batch].to(device)
        loss = paths.pick(chosen).residuals(model).square().mean()
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, MOST_GRADIENT)
        if not bool(torch.isfinite(loss.detach() + norm)):
            raise NonFiniteLossError(step, model.potential)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % RECORD_STEPS == 0 or step + 1 == steps:
            note(history, step=step + 1, loss=sum(losses) / len(losses))
            bar.set_postfix(loss=f"{history['loss'][-1]:.2e}", refresh=False)
            losses.clear()
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"step": step + 1, "history": history, "generator": generator.get_state()}
            file.save(state)
    return history


@contextmanager
def as_given(model: Elastic, file: Checkpoint) -> Iterator[None]:
    """Let Ctrl-C leave ``model`` as it was given, if ``file`` has the progress.

    The checkpoint belongs to the fit of that model, so the same call goes on from it.
    """
    given = snapshot(model)
    try:
        yield
    except KeyboardInterrupt:
        if file.path is not None:
            model.load_state_dict(given)
        raise


def fingerprint(model: Elastic, paths: Paths, settings: Any) -> dict[str, str]:
    """Fingerprints of all that a fit depends on, for its checkpoint."""
    return {"data": digest(paths), "model": digest([model]), "schedule": digest([settings])}
