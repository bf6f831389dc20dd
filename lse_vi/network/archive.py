"""Reads files of ``torch.save`` safely: checks their checksums and runs no code in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch


def read_archive(path: str | Path) -> Any:
    """The object that ``torch.save`` wrote to ``path``, on the CPU.

    Use it for files that may be damaged: ``torch.load`` verifies no checksums.

    Raises:
        FileNotFoundError: if there is no such file.
        BadZipFile: for a wrong checksum or a file that is no archive.
        Exception: of other kinds, as other damage may break ``torch.load`` anywhere.
    """
    content = Path(path).read_bytes()
    damaged = ZipFile(io.BytesIO(content)).testzip()
    if damaged:
        raise BadZipFile(f"the checksum of {damaged} is wrong")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
