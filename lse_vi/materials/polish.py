"""L-BFGS on all paths at once, after a fit of a material model by Adam."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from lse_vi.checks import check_count
from lse_vi.fitting.best_state import Best, snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import History, note
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.result import MemoryFit
from lse_vi.materials.training import RECORD_STEPS, Paths, as_given, fingerprint
from lse_vi.progress.bars import Bar
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients

LBFGS_MEMORY = 50  # pairs of steps and gradients that model the curvature, which cost little memory
LOSS_EVALUATIONS = 2  # per step of L-BFGS, at most: most line searches need one


@checked
@with_gradients()
def polish_memory(
    model: Elastic,
    strain: Tensor,
    stress: Tensor,
    *,
    times: Tensor | None = None,
    steps: int = 1000,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> MemoryFit:
    r"""Improve a fit of :func:`fit_memory`, in place, by L-BFGS on all paths at once.

    Use it after :func:`fit_memory` for a small error: Adam on batches comes near a good fit and
    then slows down, as a rate network is badly conditioned. L-BFGS, which uses curvature, lowers
    the loss by another order of magnitude or two.

    Args:
        model, strain, stress, times, progress: as for :func:`fit_memory`.
        steps: of L-BFGS (Nocedal & Wright 2006, ch. 7), with a line search for the strong Wolfe
            conditions; most steps evaluate the loss of all paths once.
        checkpoint: as for :func:`fit_memory`, but another file.

    Raises:
        ValueError: for paths that disagree in shape or are not finite.
        NonFiniteLossError: when the loss stops being finite; the model has the last good state.

    Example:
        >>> from lse_vi import LSEICNN, Isotropic
        >>> strain = 0.1 * torch.rand(8, 20, 1, 1) * torch.eye(3)
        >>> model = Elastic(LSEICNN(3, 2), Isotropic(), strain_unit=0.1)
        >>> result = polish_memory(model, strain, 2.0 * strain, steps=100, progress=False)
        >>> result.history["step"]
        [50, 100]
    """
    check_count("steps", steps)
    paths = Paths.of(model, strain, stress, times)
    optimiser = torch.optim.LBFGS(
        [p for p in model.parameters() if p.requires_grad],
        history_size=LBFGS_MEMORY,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    file = Checkpoint(checkpoint, lambda: fingerprint(model, paths, steps))
    with as_given(model, file):
        return MemoryFit(model, _descend(model, paths, optimiser, steps, progress, file))


def _descend(
    model: Elastic,
    paths: Paths,
    optimiser: torch.optim.LBFGS,
    steps: int,
    progress: bool,
    file: Checkpoint,
) -> History:
    """Take the steps, and return the history; resumes a checkpoint if there is one."""
    history = History()
    if saved := file.load():
        history = saved["history"]
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
    best = Best(state=snapshot(model), score=torch.tensor(math.inf))

    def closure() -> float:
        optimiser.zero_grad()
        loss = _squares(model, paths)
        loss.backward()
        return float(loss.detach())

    first = int(history["step"][-1]) if history else 0
    bar = Bar(total=steps, initial=first, desc="L-BFGS", disable=not progress)
    for step in range(first, steps, RECORD_STEPS):
        count = min(RECORD_STEPS, steps - step)
        optimiser.param_groups[0].update(max_iter=count, max_eval=LOSS_EVALUATIONS * count)
        optimiser.step(closure)
        with torch.no_grad():
            loss = float(_squares(model, paths)) / paths.target.numel()
        if not math.isfinite(loss):
            best.restore_(model)
            raise NonFiniteLossError(step, model.potential)
        best.keep(model, torch.tensor(True), torch.tensor(loss))
        note(history, step=step + count, loss=loss)
        bar.update(count)
        bar.set_postfix(loss=f"{loss:.2e}", refresh=False)
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        file.save(state | {"history": history})
    bar.close()
    return history


def _squares(model: Elastic, paths: Paths) -> Tensor:
    """The sum of squares, not the mean: torch's L-BFGS ignores curvature below 1e-10."""
    return paths.residuals(model).square().sum()
