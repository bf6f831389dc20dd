"""Progress bars; where one is not shown, it says at the start if the rest takes minutes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm

LONG = 300.0  # seconds from which on a hidden bar says how long the rest takes
# Seconds of steps behind an estimate, or one step if that takes longer: most fits end sooner, by
# their own tolerance, and need no word on what the largest number of steps would take.
MEASURED = 10.0


class Bar(tqdm):  # type: ignore[type-arg]  # at run time it takes none
    """A bar of tqdm, for loops and for :meth:`update`, with ``disable`` as there.

    A bar that is shown tells the time that is left from its first step on. A hidden one measures
    its first steps, and warns once if the others take minutes at that pace.

    Example:
        >>> sum(Bar(range(4), "steps", disable=True))
        6
    """

    def __init__(self, iterable: Any = None, desc: str = "", **settings: Any) -> None:
        super().__init__(iterable, desc, **settings)
        self._title, self._judged = desc, not self.disable
        self._since: tuple[float, float] | None = None  # the time, and the steps done by then

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            yield item
            if self.disable:
                self._count(1)

    def update(self, n: float | None = 1) -> bool | None:
        """``n`` more steps are done."""
        if self.disable:
            self._count(int(n or 0))
        shown: bool | None = super().update(n)
        return shown

    def _count(self, n: int) -> None:
        """Count the steps of a hidden bar, which tqdm does not do, and judge their pace once."""
        self.n += n
        if self._judged or self.total is None:
            return
        now = time.perf_counter()
        if self._since is None:  # the first step also loads and prepares what the others use
            self._since = now, self.n
            return
        took, steps = now - self._since[0], self.n - self._since[1]
        if took < MEASURED or not steps:
            return
        self._judged = True
        left = (self.total - self.n) * took / steps
        if left > LONG:
            warnings.warn(
                f"{self._title}: about {left / 60:.0f} minutes more at most, as a step takes "
                f"{took / steps:.2g} s; progress=True shows how it goes on",
                UserWarning,
                stacklevel=3,
            )
