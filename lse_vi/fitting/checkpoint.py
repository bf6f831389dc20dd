"""Checkpoints of long fits: written whole or not at all, read without running code."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lse_vi.network.archive import check_writable, read_archive, write_archive

ROUNDING = 1e-6  # relative, of numbers that another version or number of threads may round anew


class Checkpoint:
    """A file with the state of one fit, so that an interrupted fit can be resumed.

    Args:
        path: where to write; None for no checkpoint, then every call does nothing.
        fingerprint: returns what the fit depends on (data, settings), so that a checkpoint of
            another fit is refused. It is called only if there is a path.

    Raises:
        ValueError: for a path that is no file's, before any work is done.
        OSError: for a file that cannot be written, before any work is done or when it is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Checkpoint(f"{folder}/fit.pt", lambda: {"steps": 100})
        ...     file.save({"step": 50})
        ...     file.load()
        {'step': 50}
    """

    def __init__(self, path: str | Path | None, fingerprint: Callable[[], dict[str, Any]]) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None:
            check_writable("checkpoint", self.path)
        self.fingerprint = {} if path is None else fingerprint()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None when there is none.

        Raises:
            ValueError: if the file is corrupt or belongs to another fit.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            content = read_archive(self.path)
            fingerprint, state = content["fingerprint"], content["state"]
        except Exception as error:  # a damaged file can make torch raise anything
            raise ValueError(
                f"checkpoint: {self.path} is not a checkpoint of this library or is corrupt; "
                "delete it to start afresh"
            ) from error
        different = [k for k, v in self.fingerprint.items() if not _same(fingerprint.get(k), v)]
        if different:
            raise ValueError(
                f"checkpoint: {self.path} belongs to another fit (different: "
                f"{', '.join(different)}); delete it or give another path"
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` in one move, so that an interruption leaves no half-written file."""
        if self.path is None:
            return
        content = {"fingerprint": self.fingerprint, "state": state}
        write_archive("checkpoint", content, self.path)


def _same(saved: Any, own: Any) -> bool:
    """Whether two entries of fingerprints agree; lists of numbers up to rounding."""
    if not (isinstance(saved, list) and isinstance(own, list)):
        return bool(saved == own)
    return len(saved) == len(own) and all(
        math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING) or (a != a and b != b)
        for a, b in zip(saved, own, strict=True)
    )
