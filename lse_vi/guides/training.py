"""The training of a guide's potential: Adam steps in two phases, of which the mean is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lse_vi.checks import check_count, check_positive
from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.rule import Rule
from lse_vi.fitting.best_state import Best, snapshot
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.history import History, note
from lse_vi.fitting.recipe import Recipe
from lse_vi.fitting.steps import Steps
from lse_vi.guides.elbo import rule_elbo
from lse_vi.guides.frames import AveragedAdam, StartingFrames
from lse_vi.joint.log_joint import LogJoint, without_nan
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN
from lse_vi.progress.bars import Bar
from lse_vi.signatures.checked import checked

REDRAW_STEPS = 20  # steps between fresh points, checks and checkpoints: the model is run only then
WINDOW = 4  # checks whose mean misfit is compared: one misfit alone is too noisy
PROGRESS = 0.95  # the mean misfit must fall to this share from one window to the next
# Share of the learning rate in each phase: the larger steps go far, the smaller lower the noise.
PHASES = (1.0, 0.3)
# Points of a step: the next part of a set, so that all are used. A quarter of the points has twice
# the noise at a third of the cost; the mean of the steps has less noise than these.
STEP_POINTS = 1024
SETTLING = 4  # times ``samples``, to compare the states in which phases ended: half the noise
# Below the median of l + E, where it is cut off. A guide that fits has few draws there, but they
# must cost enough to be unlearned: with a cut at 30 nats one draw in a thousand would never seem to
# cost more than 0.03, however deep in the neck of a funnel.
TAIL_NATS = 200.0
# Power of the largest float that bounds a score: squares of it, and sums of these, stay finite. In
# single precision an early guide has scores that would overflow.
SCORE_POWER = 0.25


@checked
@dataclass(frozen=True, kw_only=True)
class GuideRecipe(Recipe):
    """The settings of :func:`~lse_vi.fit_guide` as one object.

    Use it if the model has an argument of the name of a setting, or for the same settings in many
    fits.

    Args:
        steps: the largest number of Adam steps.
        learning_rate: of the first phase.
        tolerance: misfit, in nats, below which the fit ends, or does not begin: its gain would be
            as small.
        samples: importance samples of the guide in each set of points.
        seed: makes the fit reproducible; the global random state is left alone.
        progress: show a bar with the loss.
        checkpoint: a file to write every 20 steps; an interrupted fit called again with the same
            arguments goes on from it and ends where an uninterrupted one does.

    Raises:
        TypeError: for settings of another type.
        ValueError: for numbers that are not positive, fewer than two samples, or a negative seed.

    Example:
        >>> GuideRecipe(steps=500).samples
        4096
    """

    steps: int = 2000
    learning_rate: float = 0.05
    tolerance: float = 5e-3
    samples: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("tolerance", self.tolerance)
        check_count("samples", self.samples, 2)


@dataclass(frozen=True)
class Batch:
    """Points of the guide, and the log joint there.

    Attributes:
        rule: the points and their weights.
        log_joint: l, in nats, (n,).
        score: the gradient of l, (n, dim).
    """

    rule: Rule
    log_joint: Tensor
    score: Tensor

    @classmethod
    def draw(cls, pot: LSEICNN, log_joint: LogJoint, samples: int) -> Batch:
        """Importance samples of the guide, with l + E cut off at 200 nats below its median.

        Without the cut, the tails of an early guide, where l is very low, would dominate the
        gradient. A guide that fits has no values of l + E as low as that.
        """
        rule = LaplaceMixture(samples).rule(pot, None)
        value, score = log_joint.value_and_gradient(rule.points)
        value = without_nan(value)
        with torch.no_grad():
            energy = pot(rule.points)
            residual = value + energy
            value = residual.clamp_min(residual.median() - TAIL_NATS) - energy
        largest = torch.finfo(score.dtype).max ** SCORE_POWER
        return cls(rule, value, score.nan_to_num(0.0, 0.0, 0.0).clamp(-largest, largest))

    @torch.no_grad()
    def elbo(self, pot: LSEICNN) -> float:
        """The ELBO of ``pot``, in nats."""
        return float(rule_elbo(self.rule, pot(self.rule.points), self.log_joint))

    @torch.no_grad()
    def misfit(self, pot: LSEICNN) -> float:
        """Half the variance of l + E under the guide, in nats: about KL(q||p) if that is small."""
        w, residual = self.rule.probabilities(pot), self.log_joint + pot(self.rule.points)
        return float(0.5 * (w * (residual - (w * residual).sum()).square()).sum())

    def part(self, step: int) -> Batch:
        """The points of a step: a part of all, the next at the next step."""
        parts = max(1, len(self.log_joint) // STEP_POINTS)
        size = len(self.log_joint) // parts
        own = slice(step % parts * size, (step % parts + 1) * size)
        return Batch(self.rule.part(step, parts), self.log_joint[own], self.score[own])

    def loss(self, pot: LSEICNN) -> Tensor:
        r"""-ELBO + E_q |T^T (grad E + grad l)|^2 / 2, with T the frame of the nearest mode.

        The second term, Fisher's divergence, is zero when KL(q||p) is. It uses dim numbers at each
        point, where the ELBO uses one, so few points determine the shapes of the modes. It hardly
        depends on the weights of the modes.
        """
        points = self.rule.points
        energy, gradient = pot.energy_and_gradient(points)
        with torch.no_grad():
            w = torch.softmax(self.rule.log_weights - energy, 0)
            # The nearest now: with that of 20 steps ago the neck of a funnel is lost.
            mode = pot.responsibilities(points).argmax(-1)
            factor = whitened(pot.network).precision_factor()[mode]
        gap = (gradient + self.score).unsqueeze(-1)
        gap = torch.linalg.solve_triangular(factor.mT, gap, upper=True).squeeze(-1)
        fisher = (w * gap.square().sum(-1).clamp_max(2 * TAIL_NATS)).sum()
        return -rule_elbo(self.rule, energy, self.log_joint) + 0.5 * fisher


class Run:
    """A training under way, which a checkpoint can hold.

    Attributes:
        frames: the mean of the last steps' parameters, which is judged, drawn from and kept.
        moving: the parameters that the steps move.
        adam: which moves them, and ``frames`` after them.
        step: the next step.
        history: lists ``step``, ``elbo``, ``misfit``, with an entry for each check.
        plateaus: the number of checks made when each phase began.
        best: the best of the states in which the phases ended, by the ELBO.
    """

    def __init__(self, pot: LSEICNN, log_joint: LogJoint, recipe: GuideRecipe) -> None:
        self.frames, self.log_joint, self.recipe = StartingFrames(pot), log_joint, recipe
        self.moving = StartingFrames(pot)
        self.adam = AveragedAdam(self.moving, self.frames)
        self.step, self.history, self.plateaus = 0, History(), [0]
        self.best = Best(state=snapshot(self.frames), score=torch.tensor(math.inf))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {
            "step": self.step,
            "history": self.history,
            "plateaus": self.plateaus,
            "best": vars(self.best),
            "frames": snapshot(self.frames),
            "adam": self.adam.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``."""
        self.step, self.history, self.plateaus = state["step"], state["history"], state["plateaus"]
        self.best = Best(**state["best"])
        self.frames.load_state_dict(state["frames"])
        self.adam.load_state_dict(state["adam"])

    def settle(self) -> None:
        """Keep the state if it is the best so far, or else restore the best, by fresh points."""
        batch = self._draw(SETTLING * self.recipe.samples)
        score = torch.tensor(-batch.elbo(self.frames.potential()))
        self.best.keep(self.frames, score <= self.best.score, score)
        self.best.restore_(self.frames)
        self.adam.restart()

    def draw(self) -> tuple[Batch, float]:
        """Draw fresh points, add a check on them to the history, and return both.

        Returns the points and the misfit.
        """
        batch, pot = self._draw(self.recipe.samples), self.frames.potential()
        misfit = batch.misfit(pot)
        if self.step == 0:  # what any later state must be better than
            self.best.score = torch.tensor(-batch.elbo(pot))
        note(self.history, step=self.step, elbo=batch.elbo(pot), misfit=misfit)
        return batch, misfit

    @torch.no_grad()
    def _draw(self, samples: int) -> Batch:
        return Batch.draw(self.frames.potential(), self.log_joint, samples)

    @property
    def stalled(self) -> bool:
        """Whether the misfit did not fall between the last two windows of checks in this phase."""
        misfits = self.history.get("misfit", [])[sum(self.plateaus[-1:]) :]
        before, now = misfits[-2 * WINDOW : -WINDOW], misfits[-WINDOW:]
        return len(misfits) >= 2 * WINDOW and sum(now) > PROGRESS * sum(before)


def train(pot: LSEICNN, log_joint: LogJoint, recipe: GuideRecipe, notes: Steps) -> History:
    """Train ``pot`` in place, and return the history; goes on from its notes if there are any.

    No step is taken where the misfit of the start is below the tolerance.

    Raises:
        ValueError: for a log joint that is NaN at some draws.
        NonFiniteLossError: when the loss stops being finite, with the last good state.
    """
    run = Run(pot, log_joint, recipe)
    if saved := notes.noted():
        run.load_state_dict(saved)
    first, steps = run.step, recipe.steps
    bar = Bar(range(first, steps), "guide", initial=first, total=steps, disable=not recipe.progress)
    for step in bar:
        if step % REDRAW_STEPS == 0:
            run.step = step
            notes.note(run.state_dict())
            if run.stalled:
                run.settle()
                run.plateaus.append(len(run.history.get("misfit", [])))
            if len(run.plateaus) > len(PHASES):
                break
            batch, misfit = run.draw()
            bar.set_postfix(
                loss=f"{-run.history['elbo'][-1]:.4f}", misfit=f"{misfit:.1e}", refresh=False
            )
            if misfit < recipe.tolerance:
                break
        loss = batch.part(step).loss(run.moving.potential())
        loss.backward()
        if not bool(torch.isfinite(loss)):
            run.best.restore_(run.frames)
            run.frames.write_()
            raise NonFiniteLossError(step, pot)
        run.adam.step(PHASES[len(run.plateaus) - 1] * recipe.learning_rate)
    if run.step:
        run.settle()
        run.frames.write_()
    return run.history
