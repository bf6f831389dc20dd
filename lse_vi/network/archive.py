"""Files written whole or not at all, and those of ``torch.save`` read without running code."""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch


def write_archive(name: str, content: Any, path: str | Path) -> None:
    """Write ``content`` for :func:`read_archive`, as :func:`write_whole` does.

    Args:
        name: the argument that gave ``path``, for errors.
        content: of tensors, numbers, strings, and containers of them.
        path: a link is followed.

    Raises:
        OSError: as :func:`write_whole`.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with buffer.getbuffer() as view:  # released at once: the buffer must not go first
        write_whole(name, view, path)


def write_whole(name: str, content: bytes | memoryview, path: str | Path) -> None:
    """Write ``content`` to ``path``: the old file stays whole until the new one is.

    The new content goes to a part file of a unique name beside ``path``, onto the disk, and from
    there to its name in one move. So neither a kill, nor a full disk, nor another process that
    writes the same file can leave half of one.

    Args:
        name: the argument that gave ``path``, for errors.
        content: of the file.
        path: a link is followed.

    Raises:
        OSError: of the kind of the cause (a full disk, a folder that is not there or not
            writable), with ``name`` and the path.
    """
    target = os.path.realpath(path)
    part = f"{target}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        try:
            with open(part, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:  # an interrupt too
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _named(error, name, path) from error


def check_writable(name: str, path: str | Path) -> None:
    """``path`` must be that of a file that can be written; to know, a part file is made there.

    Raises:
        ValueError: for a folder, or a file in a folder that does not exist.
        OSError: where files cannot be made.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(
            f"{name} must be the path of a file in a folder that exists, but got {path}"
        )
    probe = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _named(error, name, path) from error


def _named(error: OSError, name: str, path: str | Path) -> OSError:
    """``error`` of the same kind, with the argument and the path."""
    return OSError(error.errno, f"{name}: cannot write {path}: {error.strerror}")


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
