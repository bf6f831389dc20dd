"""How a potential is fitted: the settings of ``fit_potential``, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lse_vi.checks import check_count, check_fraction, check_object, check_parameters
from lse_vi.fitting.fingerprint import digest
from lse_vi.network.potential import LSEICNN
from lse_vi.potentials.fewest_modes import FewestModes
from lse_vi.potentials.solver import Solver
from lse_vi.potentials.targets import Targets


@dataclass(frozen=True, kw_only=True)
class PotentialRecipe:
    """The settings of :func:`~lse_vi.fit_potential`, by the names of its arguments."""

    discovery: FewestModes | None
    solver: Solver
    standardise: bool
    held_out: float
    restarts: int
    polish: int
    seed: int
    progress: bool
    checkpoint: str | Path | None

    def __post_init__(self) -> None:
        if not isinstance(self.discovery, FewestModes | None):
            raise TypeError(f"discovery must be FewestModes() or None, but got {self.discovery!r}")
        check_object("solver", self.solver, "begin", "LevenbergMarquardt() or Adam()")
        check_fraction("held_out", self.held_out)
        for name in ("restarts", "polish", "seed"):
            check_count(name, getattr(self, name), minimum=0)
        if self.discovery is not None and self.restarts == 0:
            raise ValueError("restarts=0 goes on from pot and needs discovery=None")

    def check(self, pot: Any) -> None:
        """``pot`` must be a potential whose parameters these settings may replace."""
        if not isinstance(pot, LSEICNN):
            raise TypeError(f"pot must be an LSEICNN, but got {pot!r}")
        batch = pot.batch_shape.numel()
        check_parameters("pot", sum(p.numel() for p in pot.parameters()) // batch)
        # Starts and units write over the networks.
        frozen = [name for name, p in pot.network.named_parameters() if not p.requires_grad]
        if frozen and (self.restarts or self.standardise):
            raise ValueError(
                f"pot: its network must have all parameters trainable, but {', '.join(frozen)} "
                "need no gradient; call pot.network.requires_grad_(), or keep them by restarts=0 "
                "and standardise=False"
            )

    def held_out_points(self, pot: LSEICNN, n: int) -> int:
        """How many of ``n`` points are held out; the others must be enough for the modes."""
        n_test = round(self.held_out * n)
        if pot.modes > n - n_test:
            raise ValueError(
                f"pot must have at most as many modes as there are points to fit, {n - n_test}, "
                f"but has {pot.modes}"
            )
        return n_test

    def fingerprint(self, pot: LSEICNN, given: Targets) -> dict[str, str]:
        """All that the fit depends on."""
        silent = ("progress", "checkpoint")
        settings = [getattr(self, f.name) for f in fields(self) if f.name not in silent]
        return {"data": given.digest(), "pot": digest([pot]), "settings": digest(settings)}
