"""Work in steps whose results a checkpoint keeps: what is done once is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.random_state import random_state, set_random_state
from lse_vi.random.draws import CURRENT

NOTE = "~"  # the key of the notes of a step that is not done


class Steps:
    """The steps of one call, in their order; steps can have steps of their own.

    Use it for work that has no single loop: each result goes to the checkpoint, with the state of
    the random generators after it. Where a step takes long, it leaves notes from which it goes on.

    Args:
        file: read when the steps are made, written after each step and note.
        device: of the fit, whose random generators are kept. Tensors of a checkpoint are on the
            CPU.

    Raises:
        ValueError: if the file is corrupt or belongs to another fit.

    Example:
        >>> steps = Steps(Checkpoint(None, dict))
        >>> steps.take("mean", lambda: 3.0), steps.take("mean", lambda: 4.0)
        (3.0, 3.0)
    """

    def __init__(self, file: Checkpoint, device: torch.device | None = None) -> None:
        self.file, self.device = file, device or torch.device("cpu")
        saved = file.load()
        self._done: dict[str, dict[str, Any]] = saved["done"] if saved else {}
        self._within = ""  # the steps that are being taken, outermost first, each with a "/"

    def take(self, name: str, work: Callable[[], Any]) -> Any:
        """What ``work()`` returns, or has returned: tensors, numbers, and containers of them.

        Random numbers go on from where they were after the work.
        """
        key = self._within + name
        if key in self._done:
            return self._known(key)
        with self.within(name):
            result = work()
        inner = [known for known in self._done if known.startswith(f"{key}/")]
        for known in inner:
            del self._done[known]
        self._keep(key, result)
        return result

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Steps that are taken within are parts of ``name``, and may have names known outside."""
        outer, self._within = self._within, f"{self._within}{name}/"
        try:
            yield
        finally:
            self._within = outer

    def note(self, state: Any) -> None:
        """Keep ``state`` of the step that is being taken, in place of what was noted before."""
        self._keep(self._within + NOTE, state)

    def noted(self) -> Any:
        """The last note of the step that is being taken, or None; random numbers go on from it."""
        key = self._within + NOTE
        return self._known(key) if key in self._done else None

    def __contains__(self, name: str) -> bool:
        """Whether a step is done."""
        return self._within + name in self._done

    def _known(self, key: str) -> Any:
        if CURRENT.get() is not None:  # torch's own generators are not ours to move
            set_random_state(self._done[key]["random"], self.device)
        return self._done[key]["result"]

    def _keep(self, key: str, result: Any) -> None:
        self._done[key] = {"result": result, "random": random_state(self.device)}
        self.file.save({"done": self._done})
