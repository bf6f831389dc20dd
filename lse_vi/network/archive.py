"""Files of torch.save, read with the checksums that torch.load leaves out, and without code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch


def read_archive(path: str | Path) -> Any:
    """What ``torch.save`` wrote to ``path``, on the CPU.

    Raises:
        Exception: of many kinds, for a damaged file.
    """
    content = Path(path).read_bytes()
    damaged = ZipFile(io.BytesIO(content)).testzip()
    if damaged:
        raise BadZipFile(f"the checksum of {damaged} is wrong")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
