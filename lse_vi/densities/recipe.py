"""How a density is fitted: the defaults, and the checks, of all that ``fit_density`` is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from lse_vi.checks import (
    check_count,
    check_enough,
    check_fraction,
    check_number,
    check_object,
)
from lse_vi.densities.data_source import Points
from lse_vi.distribution.box import Box
from lse_vi.distribution.density import METHODS
from lse_vi.distribution.importance import MomentMixture
from lse_vi.distribution.quadrature import Quadrature
from lse_vi.distribution.rule import Method, Rule
from lse_vi.fitting.fingerprint import digest
from lse_vi.fitting.random_state import seeded
from lse_vi.fitting.recipe import Recipe
from lse_vi.network.icnn import ICNN, WhitenedICNN, check_network
from lse_vi.network.potential import LSEICNN

RULE_FIXED, RULE_MOVING = 50, 25  # steps between rules: on a box, and where nodes follow modes
RULE_DRAWS, PARTS = 2048, 8  # of a rule beyond a plane: each step of Adam takes a part in turn
WHOLE, BATCH = 2**16, 2**14  # more points than the first are fitted the second at a time


class Settings(NamedTuple):
    """What is fitted: the largest number of modes, their networks, and how log Z is found.

    ``method`` None is the default, another one during the fit than for the result.
    """

    modes: int
    hidden: tuple[int, ...]
    network: type[ICNN | WhitenedICNN]
    method: Method | None

    def check(self, n: int) -> None:
        """Each must be of its kind; ``n`` points are fitted."""
        check_network(self.network)
        if self.method is not None:
            check_object("method", self.method, "rule", METHODS)
        if check_count("modes", self.modes) > n:
            raise ValueError(
                f"modes must be at most the {n} points that are fitted, but got {self.modes}"
            )

    def template(self, like: Tensor, recipe: DensityRecipe) -> LSEICNN:
        """A potential with the most modes, which those with fewer resemble; ``like`` is (dim,)."""
        with seeded(recipe.seed, like.device):
            pot = LSEICNN(
                len(like), self.modes, hidden=self.hidden, network=self.network,
                rho=0.3 if recipe.learn_rho else 1.0, dtype=like.dtype, device=like.device,
            )  # fmt: skip
        pot.log_rho.requires_grad_(recipe.learn_rho)
        return pot


@dataclass(frozen=True, kw_only=True)
class DensityRecipe(Recipe):
    """How every number of modes is fitted.

    Attributes:
        method: how log Z is found during the fit.
        box: the support in standardised units, None for R^d.
        rule_every, rule_parts: steps of Adam between rules, and how many take a rule's draws in
            turn.
        penalty: what a mode costs, in nats.
        n_test: points held out.
        batch_size: points of a step.
        restarts: starts for each number of modes.
        polish: steps of L-BFGS that may follow Adam.
        learn_rho: whether rho is trained; else it is 1.
        mixture: whether the modes start on a Gaussian mixture, the best of the restarts.
    """

    method: Method
    box: Box | None
    rule_every: int
    rule_parts: int
    penalty: float
    n_test: int
    batch_size: int
    restarts: int
    polish: int
    learn_rho: bool
    mixture: bool

    def rule_of(self, pot: LSEICNN) -> Rule:
        """The rule for log Z of a potential, in standardised units."""
        return self.method.rule(pot, self.box and self.box.to(pot.alpha.dtype))


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
    """The recipe for data, from the arguments of :func:`fit_density`: None is a default.

    Args:
        box: in the units of the data.
        common: ``seed``, ``progress`` and ``checkpoint``.
    """
    check_count("restarts", restarts)
    n, dim = len(points), points.shape[-1]
    n_test = round(check_fraction("held_out", held_out) * n)
    check_enough("x", n - n_test, dim)
    settings.check(n - n_test)
    if learn_rho is None:
        learn_rho = box is not None and dim <= 2
    if mode_penalty is None:
        mode_penalty = 0.5 * math.log(n) * (1 + 2 * dim + dim * (dim + 1) / 2)
    if not check_number("mode_penalty", mode_penalty) >= 0:
        raise ValueError(f"mode_penalty must be at least 0, but got {mode_penalty}")
    if batch_size is None:
        batch_size = n if n <= WHOLE else BATCH
    check_count("batch_size", batch_size)
    mixture = not learn_rho and issubclass(settings.network, WhitenedICNN)
    polish = check_count("polish", polish, minimum=0) if batch_size >= n - n_test else 0
    if steps is None:
        steps = 600 if not mixture else 50 if polish else 500
    if learning_rate is None:
        learning_rate = 0.1 if mixture else 0.03
    shift, scale = points.moments
    method = settings.method or _fit_method(dim, box)
    exact = isinstance(method, Quadrature)
    return DensityRecipe(
        steps=steps,
        learning_rate=learning_rate,
        method=method,
        box=None if box is None else Box((box.low - shift) / scale, (box.high - shift) / scale),
        rule_every=RULE_MOVING if box is None else RULE_FIXED,
        rule_parts=_parts(dim) if settings.method is None and not exact else 1,
        penalty=mode_penalty,
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
    """All that the fit depends on."""
    return {
        "x": points.digest(),
        "settings": digest([box, settings]),
        "schedule": digest(recipe.decisive()),
    }


def _fit_method(dim: int, box: Box | None) -> Method:
    """The rule during a fit: coarser than the density's own, which is for reported numbers."""
    if dim == 1 or (dim == 2 and box is not None):
        return Quadrature(tolerance=1e-4, panels=8 // dim**2)
    return MomentMixture(samples=_parts(dim) * RULE_DRAWS, sobol=True)


def _parts(dim: int) -> int:
    return PARTS if dim > 2 else 2
