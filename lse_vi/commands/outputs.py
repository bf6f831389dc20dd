"""What a command writes: each file whole, in place of an older one, or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from lse_vi.network.archive import check_writable, write_whole


class Outputs:
    """The files of a command, in one folder, which is made if it is not there.

    Args:
        folder: the option ``--out``.

    Raises:
        OSError: for a folder that cannot be made or written, before any work is done.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Outputs(Path(folder)).text("modes.txt", "two")
        ...     Path(folder, "modes.txt").read_text()
        'two\\n'
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        check_writable("--out", folder / "report")

    def text(self, name: str, text: str) -> None:
        """A file of text, with a newline at its end."""
        self._write(name, f"{text}\n".encode())

    def table(self, name: str, table: pd.DataFrame, **settings: Any) -> None:
        """A table as CSV."""
        self._write(name, table.to_csv(index=False, **settings).encode())

    def figure(self, name: str, figure: Any) -> None:
        """A figure, whose kind is that of the name; it is closed."""
        content = io.BytesIO()
        figure.savefig(content, format=Path(name).suffix[1:])
        plt.close(figure)
        self._write(name, content.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        write_whole("--out", content, self.folder / name)
