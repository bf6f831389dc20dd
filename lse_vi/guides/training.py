"""Training of a guide's potential: one visible loop of Adam steps, phase after phase."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.distribution.importance import LaplaceMixture
from lse_vi.distribution.rule import Rule
from lse_vi.fitting.best_state import snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.guides.elbo import rule_elbo
from lse_vi.guides.log_joint import LogJoint
from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN

REFRESH = 20  # steps between sets of points, checks and checkpoints
WINDOW = 4  # checks over which progress is judged
PROGRESS = 0.95  # the misfit must fall to this share from one window to the next
# The weight of the score term and the share of the learning rate, until a plateau.
PHASES = ((1.0, 1.0), (0.0, 0.3), (0.0, 0.1))
TAIL = 30.0  # nats below the median at which l + E is cut off


@dataclass(frozen=True)
class Recipe:
    """How a guide is trained: see :func:`~lse_vi.fit_guide`."""

    steps: int
    learning_rate: float
    tolerance: float
    samples: int
    progress: bool


@dataclass(frozen=True)
class Batch:
    """Points of the guide and what the model says there: l (n,), its gradient (n, dim)."""

    rule: Rule
    log_joint: Tensor
    score: Tensor

    @classmethod
    def draw(cls, pot: LSEICNN, log_joint: LogJoint, samples: int) -> Batch:
        """Importance samples of the guide, with l cut off far out in the guide's tails.

        The tails of an early guide would drown the rest in the gradient. A guide that fits has no
        values of l + E that lie 30 nats below the median.
        """
        rule = LaplaceMixture(samples).rule(pot, None)
        value, score = log_joint.value_and_gradient(rule.points)
        if bool(value.isnan().any()):
            raise ValueError("model: the log joint is NaN at some draws of the guide")
        with torch.no_grad():
            energy = pot(rule.points)
            residual = value + energy
            value = residual.clamp_min(residual.median() - TAIL) - energy
        largest = torch.finfo(score.dtype).max ** 0.25  # in single precision squares overflow soon
        return cls(rule, value, score.nan_to_num(0.0, 0.0, 0.0).clamp(-largest, largest))

    @torch.no_grad()
    def elbo(self, pot: LSEICNN) -> float:
        """The ELBO of ``pot``."""
        return float(rule_elbo(self.rule, pot(self.rule.points), self.log_joint))

    @torch.no_grad()
    def misfit(self, pot: LSEICNN) -> float:
        """Half the variance of l + E under the guide, near KL(q||p) where that is small."""
        w, residual = self.rule.probabilities(pot), self.log_joint + pot(self.rule.points)
        return float(0.5 * (w * (residual - (w * residual).sum()).square()).sum())

    def loss(self, pot: LSEICNN, score_weight: float) -> Tensor:
        r"""-ELBO + weight/2 E_q |T^T (grad E + grad l)|^2, T the frame of the nearest mode.

        The second term, Fisher's divergence, vanishes with KL(q||p). It holds dim numbers for each
        point where the ELBO holds one, so it settles the shape of the modes from few points; it
        says nothing about their weights.
        """
        points = self.rule.points
        if not score_weight:
            return -rule_elbo(self.rule, pot(points), self.log_joint)
        energy, gradient = pot.energy_and_gradient(points)
        with torch.no_grad():
            w = self.rule.probabilities(pot)
            mode = pot.responsibilities(points).argmax(-1)
            factor = whitened(pot.network).precision_factor()[mode]
        gap = (gradient + self.score).unsqueeze(-1)
        gap = torch.linalg.solve_triangular(factor.mT, gap, upper=True).squeeze(-1)
        fisher = (w * gap.square().sum(-1).clamp_max(2 * TAIL)).sum()
        return -rule_elbo(self.rule, energy, self.log_joint) + 0.5 * score_weight * fisher


def train(
    pot: LSEICNN, log_joint: LogJoint, recipe: Recipe, file: Checkpoint
) -> dict[str, list[float]]:
    """Train ``pot`` in place, from the checkpoint if there is one; returns the history."""
    optimiser = torch.optim.Adam([p for p in pot.parameters() if p.requires_grad])
    run: dict[str, Any] = file.load() or {
        "step": 0,
        "plateaus": [],  # the checks at which phases ended
        "history": {"step": [], "elbo": [], "misfit": []},
        "pot": snapshot(pot),
        "best": snapshot(pot),
        "best_elbo": -math.inf,
        "optimiser": optimiser.state_dict(),
        "rng": torch.get_rng_state(),
    }
    pot.load_state_dict(run["pot"])
    optimiser.load_state_dict(run["optimiser"])
    torch.set_rng_state(run["rng"])
    history, plateaus = run["history"], run["plateaus"]

    def settle() -> None:
        """Keep the state if it is the best so far, or else go back to that one."""
        elbo = Batch.draw(pot, log_joint, 4 * recipe.samples).elbo(pot)
        if elbo >= run["best_elbo"]:
            run["best"], run["best_elbo"] = snapshot(pot), elbo
        pot.load_state_dict(run["best"])

    bar = tqdm(
        range(run["step"], recipe.steps), "guide",
        initial=run["step"], total=recipe.steps, disable=not recipe.progress,
    )  # fmt: skip
    for step in bar:
        if step % REFRESH == 0:
            run |= {
                "step": step,
                "pot": snapshot(pot),
                "optimiser": optimiser.state_dict(),
                "rng": torch.get_rng_state(),
            }
            file.save(run)
            if step == 0 or _stalled(history["misfit"][sum(plateaus[-1:]) :]):
                settle()
                plateaus.append(len(history["misfit"]))
            if len(plateaus) > len(PHASES):
                return history
            batch = Batch.draw(pot, log_joint, recipe.samples)
            elbo, misfit = batch.elbo(pot), batch.misfit(pot)
            for name, value in (("step", step), ("elbo", elbo), ("misfit", misfit)):
                history[name].append(value)
            bar.set_postfix(loss=f"{-elbo:.4f}", misfit=f"{misfit:.1e}", refresh=False)
            if misfit < recipe.tolerance:
                break
        score_weight, rate = PHASES[len(plateaus) - 1]
        optimiser.param_groups[0]["lr"] = rate * recipe.learning_rate
        optimiser.zero_grad()
        loss = batch.loss(pot, score_weight)
        loss.backward()
        if not bool(torch.isfinite(loss)):
            pot.load_state_dict(run["best"])
            raise NonFiniteLossError(step, pot)
        optimiser.step()
    settle()
    return history


def _stalled(misfits: list[float]) -> bool:
    """Has the misfit not fallen from one window of checks to the next?"""
    if len(misfits) < 2 * WINDOW:
        return False
    before, now = misfits[-2 * WINDOW : -WINDOW], misfits[-WINDOW:]
    return sum(now) > PROGRESS * sum(before)
