"""The settings of training that all fits share."""

from __future__ import annotations

import pathlib  # by its whole name: the site would take Path for that of a simulation
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from lse_vi.checks import check_count, check_positive


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of any fit; each kind of fit derives its own recipe with further settings.

    Args:
        steps: the largest number of steps.
        learning_rate: the largest learning rate of the schedule.
        seed: makes the fit reproducible; the global random state is not changed.
        progress: show a progress bar with the loss.
        checkpoint: a file to write during the fit. An interrupted fit that is called again with the
            same arguments resumes from it, with the same result as without the interruption.

    Raises:
        TypeError: for steps or a seed that are no integers, or a rate that is no number.
        ValueError: for too few steps, a negative seed, or a rate that is not positive.

    Example:
        >>> Recipe(steps=100, learning_rate=0.03, progress=False).decisive()
        (100, 0.03, 0)
    """

    least_steps: ClassVar[int] = 1

    steps: int
    learning_rate: float
    seed: int = 0
    progress: bool = True
    checkpoint: str | pathlib.Path | None = None

    def __post_init__(self) -> None:
        check_count("steps", self.steps, minimum=self.least_steps)
        check_positive("learning_rate", self.learning_rate)
        check_count("seed", self.seed, minimum=0)

    def decisive(self) -> tuple[Any, ...]:
        """The values of the settings that the result depends on, for a fingerprint."""
        silent = ("progress", "checkpoint")
        return tuple(getattr(self, f.name) for f in fields(self) if f.name not in silent)
