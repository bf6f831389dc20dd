r"""Densities on a circle: those of R^d, wrapped.

.. math:: \int_0^P g(x) \sum_m e^{-E(x + m P)} dx = \int_{-\infty}^{\infty} g(x) e^{-E(x)} dx

for a periodic g, with rho = 1. So Z is that on R^d, and an exact draw is one of R^d modulo P.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lse_vi.distribution.box import Box
from lse_vi.distribution.rule import AnyRule, Method, Rule
from lse_vi.network.circle import apart, mean_around, wrapped
from lse_vi.network.potential import LSEICNN

SHARP = 1e-6  # difference of rho from one that rounding explains, in single precision too


def rule_of(method: Method, pot: LSEICNN, box: Box | None) -> Rule:
    """The rule that ``method`` finds for exp(-E), where x is periodic too.

    There it is the rule of the modes on R^d. Its points are taken modulo the period, and its
    weights are for the sum over images.

    Example:
        >>> from lse_vi import Quadrature, WhitenedICNN
        >>> pot = LSEICNN(1, 2, rho=1.0, network=WhitenedICNN, period=360.0)
        >>> rule = rule_of(Quadrature(), pot, None)
        >>> bool((rule.points >= -180).all() & (rule.points < 180).all())
        True
    """
    open_space = pot.unwrapped()
    rule = method.rule(open_space, box)
    if open_space is pot:
        return rule
    with torch.no_grad():
        period = pot.units.period.to(rule.points)
        points = wrapped(rule.points, period, lowest(period))
        log_weights = rule.log_weights - open_space(rule.points) + pot(points)
    return Rule(points, log_weights, rule.error)


def check_wrapped(pot: LSEICNN, bounds: Any) -> None:
    """A periodic potential must have no bounds and rho = 1 to be a density.

    Raises:
        ValueError: if it has.
    """
    if bounds is not None:
        raise ValueError(
            f"bounds: a density that is periodic has none, but got {bounds!r}; where only some "
            "coordinates are periodic, the others are unbounded"
        )
    if bool((pot.rho - 1).abs().amax() > SHARP):
        raise ValueError(
            f"potential: a periodic density needs rho = 1, but got rho={pot.rho.tolist()}; build "
            "it with LSEICNN(..., rho=1.0, network=WhitenedICNN, period=...)"
        )


@torch.no_grad()
def mode_moments(pot: LSEICNN, rule: AnyRule) -> tuple[Tensor, Tensor, Tensor]:
    """Mass (*batch, modes), mean and deviation (*batch, modes, dim) of each mode under q.

    Means of angles are circular, deviations are of the distance by the shorter way around. Both
    are NaN for a mode without mass.
    """
    mass = rule.probabilities(pot).unsqueeze(-1) * pot.responsibilities(rule.points)
    weights, period = mass.sum(0), pot.units.period.unsqueeze(-2).to(rule.points)
    mass, x = mass / weights, rule.points.unsqueeze(-2)
    mean = mean_around(mass, x, period)
    square = (mass.unsqueeze(-1) * apart(mean, x, period).square()).sum(0)
    return weights, mean, square.sqrt()


def lowest(period: Tensor) -> Tensor:
    """The low end of the period that stands for all, -P/2, (..., dim); 0 where not periodic."""
    return torch.where(period.isfinite(), -period / 2, 0.0)
