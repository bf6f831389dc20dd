"""How a density is fitted: checks and defaults for the arguments of ``fit_density``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lse_vi.checks import (
    check_count,
    check_enough,
    check_fraction,
    check_number,
    check_object,
    check_parameters,
)
from lse_vi.densities.data_source import Points
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import METHODS
from lse_vi.distribution.importance import MomentMixture
from lse_vi.distribution.quadrature import Quadrature, mode_rule
from lse_vi.distribution.rule import AnyRule, Method
from lse_vi.distribution.wrapping import rule_of
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.recipe import Recipe
from lse_vi.network.icnn import ICNN, WhitenedICNN, check_network, whitened
from lse_vi.network.potential import LSEICNN

# Adam steps between new rules for log Z. On R^d the nodes sit around the modes, which move, so they
# are renewed twice as often as on a box, whose nodes cover it wherever the modes are.
RULE_STEPS_BOX, RULE_STEPS_OPEN = 50, 25
# Draws of a part of a rule, and the parts of a rule from three dimensions on. Each step of Adam
# takes one part in turn: steps stay cheap, and all of them together see many draws.
RULE_DRAWS, RULE_PARTS = 2048, 8
RULE_PARTS_PLANE = 2  # parts of a rule in a plane, where fewer draws suffice
RULE_TOLERANCE = 1e-4  # nats of log Z per point, well below the gains that a fit still looks for
RULE_PANELS = 8  # per axis, at the start of a quadrature in 1-D; a quarter of them in 2-D, for cost
# In a plane states are judged by this rule: its true error is far below the last change of log Z.
JUDGE = Quadrature(tolerance=1e-3, panels=2)
# Up to the first number of points a step takes all of them, and L-BFGS can follow; of more points a
# step takes the second number, which bounds its memory.
WHOLE_POINTS, BATCH_POINTS = 2**16, 2**14
# Adam steps from a random start, and from a Gaussian mixture. If L-BFGS follows, a mixture needs
# none: it starts near the end, and L-BFGS makes the rest of the way faster.
STEPS_RANDOM, STEPS_MIXTURE = 600, 500
# Peak learning rates of Adam from the same starts.
RATE_RANDOM, RATE_MIXTURE = 0.03, 0.1
START_RHO = 0.3  # per nat, of a trained rho: soft, so that several modes learn from each point


class Settings(NamedTuple):
    """What is fitted: the largest number of modes, their networks, and how log Z is found.

    With ``background``, a broad part beside the modes takes the strays.
    With ``method`` None, the fit uses a coarser rule than the density that is returned.
    """

    modes: int
    hidden: tuple[int, ...]
    network: type[ICNN | WhitenedICNN]
    method: Method | None
    background: bool

    def check(self, n: int) -> None:
        """Each setting must be valid for a fit to ``n`` points."""
        check_network(self.network)
        if self.method is not None:
            check_object("method", self.method, "rule", METHODS)
        if check_count("modes", self.modes) > n:
            raise ValueError(
                f"modes must be at most the {n} points that are fitted, but got {self.modes}"
            )

    def template(self, like: Tensor, recipe: DensityRecipe) -> LSEICNN:
        """A potential with the largest number of modes, to be resized; ``like`` is (dim,).

        It is in double precision where L-BFGS needs that: also the start, as one in single would be
        that of another fit.
        """
        rho = START_RHO if recipe.learn_rho else 1.0
        dtype = torch.float64 if recipe.polish else like.dtype
        kind: dict[str, Any] = {"dtype": dtype, "device": like.device}
        with seeded(recipe.seed):
            pot = LSEICNN(
                len(like), self.modes, hidden=self.hidden, network=self.network, rho=rho, **kind
            )
        check_parameters("hidden and modes", sum(p.numel() for p in pot.parameters()))
        if recipe.period is not None:
            whitened(pot.network, "period")
            pot.units.set_(period=recipe.period)
        pot.log_rho.requires_grad_(recipe.learn_rho)
        return pot


class Rules(NamedTuple):
    """Two rules for log Z of one potential.

    In a plane that of the judge is far more exact than that of the steps, whose error may be
    several nats of the objective, and it costs a few steps only. Elsewhere they are one.
    """

    steps: AnyRule
    judge: AnyRule


@dataclass(frozen=True, kw_only=True)
class DensityRecipe(Recipe):
    """How every number of modes is fitted.

    Attributes:
        method: how log Z is found during the fit.
        box: the support in standardised units, None for R^d.
        period: in standardised units, (dim,), infinite where not periodic; None for none.
        rule_every: Adam steps between new rules.
        rule_parts: parts of a rule, of which each Adam step takes one in turn.
        penalty: what a mode costs, in nats; a number or (*batch,).
        n_test: number of held-out points.
        batch_size: points of a step.
        restarts: starts for each number of modes.
        polish: steps of L-BFGS that may follow Adam.
        learn_rho: whether rho is trained; else it is 1.
        mixture: whether the modes start on a Gaussian mixture, the best of ``restarts``.
    """

    least_steps = 0  # the start may be all, or L-BFGS may follow at once

    method: Method
    box: Box | None
    period: Tensor | None
    rule_every: int
    rule_parts: int
    penalty: float | Tensor
    n_test: int
    batch_size: int
    restarts: int
    polish: int
    learn_rho: bool
    mixture: bool

    @property
    def half_open(self) -> bool:
        """Whether the support has a wall on one side only."""
        return self.box is not None and not self.box.finite

    @property
    def by_mode(self) -> bool:
        """Whether a quadrature takes each mode by itself: the density is their mixture on R^d."""
        return self.box is None and self.period is None and not self.learn_rho

    @property
    def starts(self) -> int:
        """Fits of a number of modes in one batch: one on a mixture, else one for each restart."""
        return 1 if self.mixture else self.restarts

    def rule_of(self, pot: LSEICNN) -> AnyRule:
        """The rule for log Z of a potential, in standardised units."""
        if self.by_mode and isinstance(self.method, Quadrature):
            return mode_rule(self.method, pot)
        return rule_of(self.method, pot, self.box and self.box.to(pot.alpha.dtype))

    def rules_of(self, pot: LSEICNN, *, last: bool = False) -> Rules:
        """The rules of the steps, and that by which states and numbers of modes are compared.

        With ``last`` the steps take the latter too: a fit can converge on an exact rule only.
        """
        if pot.dim > 2 or self.box is not None or isinstance(self.method, Quadrature):
            return Rules(*[self.rule_of(pot)] * 2)
        judge = mode_rule(JUDGE, pot) if self.by_mode else rule_of(JUDGE, pot, None)
        return Rules(judge if last else self.rule_of(pot), judge)


def density_recipe(
    points: Points,
    box: Box | None,
    settings: Settings,
    learn_rho: bool | None,
    mode_penalty: float | None,
    held_out: float,
    restarts: int,
    steps: int | None,
    learning_rate: float | None,
    batch_size: int | None,
    polish: int,
    **common: Any,
) -> DensityRecipe:
    """The recipe for data, from the arguments of :func:`fit_density`; None means the default.

    Args:
        points: the data.
        box: the support in the units of the data.
        settings: what is fitted.
        common: ``seed``, ``progress`` and ``checkpoint``.

    Raises:
        TypeError: for arguments of another type.
        ValueError: for arguments out of range, and for too few points.
    """
    check_count("restarts", restarts)
    rows, dim = len(points), points.shape[-1]
    n = rows if points.weights is None else math.floor(float(points.size.min()))
    n_test = round(check_fraction("held_out", held_out) * n)
    check_enough("x", n - n_test, dim)
    settings.check(min(n - n_test, rows))
    if learn_rho is None:
        closed = box is not None and box.finite
        learn_rho = closed and dim <= 2 and not settings.background
    if mode_penalty is None:
        many: float | Tensor = points.size.log().to(points.like.device)
        many = math.log(n) if points.weights is None else many
        penalty = 0.5 * many * (1 + 2 * dim + dim * (dim + 1) / 2)
    elif not check_number("mode_penalty", mode_penalty) >= 0:
        raise ValueError(f"mode_penalty must be at least 0, but got {mode_penalty}")
    else:
        penalty = mode_penalty
    if batch_size is None:
        batch_size = rows if rows <= WHOLE_POINTS else BATCH_POINTS
    check_count("batch_size", batch_size)
    mixture = issubclass(settings.network, WhitenedICNN)
    if settings.background and (learn_rho or not mixture):
        raise ValueError(
            "background: a part beside the modes needs learn_rho=False and "
            f"network=WhitenedICNN, but got learn_rho={learn_rho} and "
            f"network={settings.network.__name__}"
        )
    seen = rows if points.weights is not None else n - n_test
    if points.period is not None and (learn_rho or settings.background or box is not None):
        raise ValueError(
            "period: a periodic density has no bounds, no background and rho = 1; leave these out"
        )
    polish = check_count("polish", polish, minimum=0) if batch_size >= seen else 0
    if steps is None:
        mixture_steps = 0 if polish else STEPS_MIXTURE
        steps = mixture_steps if mixture else STEPS_RANDOM
    if learning_rate is None:
        learning_rate = RATE_MIXTURE if mixture else RATE_RANDOM
    shift, scale = points.moments
    method = settings.method or _fit_method(dim, box)
    exact = isinstance(method, Quadrature)
    return DensityRecipe(
        steps=steps,
        learning_rate=learning_rate,
        method=method,
        box=None
        if box is None
        else Box((box.low.double() - shift) / scale, (box.high.double() - shift) / scale),
        period=None if points.period is None else points.period / scale,
        rule_every=RULE_STEPS_OPEN if box is None else RULE_STEPS_BOX,
        rule_parts=_parts(dim) if settings.method is None and not exact else 1,
        penalty=penalty,
        n_test=n_test,
        batch_size=batch_size,
        restarts=restarts,
        polish=polish,
        learn_rho=learn_rho,
        mixture=mixture,
        **common,
    )


def fingerprint(
    points: Points, box: Box | None, settings: Settings, recipe: DensityRecipe
) -> dict[str, str]:
    """Fingerprints of all that the fit depends on, for its checkpoint."""
    return {
        "x": points.digest(),
        "settings": digest([box, settings]),
        "schedule": digest(recipe.decisive()),
    }


def _fit_method(dim: int, box: Box | None) -> Method:
    """The default rule during a fit: coarser than that of the reported result."""
    if dim == 1 or (dim == 2 and box is not None):
        return Quadrature(tolerance=RULE_TOLERANCE, panels=RULE_PANELS // dim**2)
    return MomentMixture(samples=_parts(dim) * RULE_DRAWS, sobol=True)


def _parts(dim: int) -> int:
    """The number of parts of a rule of draws."""
    return RULE_PARTS if dim > 2 else RULE_PARTS_PLANE
