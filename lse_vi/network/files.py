"""Reads potentials from disk without running any code in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lse_vi.network.archive import read_archive
from lse_vi.network.icnn import NETWORKS
from lse_vi.network.potential import FORMAT, LSEICNN
from lse_vi.signatures.checked import checked


@checked
def load(path: str | Path, *, device: torch.device | str | None = None) -> LSEICNN:
    """Read a potential that :meth:`LSEICNN.save` wrote; safe for files of others.

    No code in the file is run.

    Args:
        path: the file.
        device: where the parameters go; the CPU by default.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is corrupt, is not a saved potential, or is of a later version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     LSEICNN(2, 3).save(f"{folder}/wells.pt")
        ...     print(load(f"{folder}/wells.pt").modes)
        3
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        saved = read_archive(path)
        newer = saved["lse_vi"] > FORMAT
        pot = None if newer else _from_saved(saved)
    except Exception as error:  # a damaged file can break its readers anywhere
        raise ValueError(
            f"path: expected a potential written by LSEICNN.save, but {path} is not one or is "
            f"corrupt ({error})"
        ) from error
    if pot is None:
        raise ValueError(
            f"path: {path} has format {saved['lse_vi']}, but this version of lse_vi reads formats "
            f"up to {FORMAT}; update lse_vi"
        )
    return pot if device is None else pot.to(device)


def _from_saved(saved: dict[str, Any]) -> LSEICNN:
    """The potential of the dictionary that ``LSEICNN.save`` writes."""
    config = dict(saved["config"])
    network, dtype = NETWORKS[config.pop("network")], getattr(torch, config.pop("dtype"))
    state = saved["state"]
    _check_state(state, {**config, "network": network, "dtype": dtype})
    pot = LSEICNN(**config, network=network, dtype=dtype)
    if saved["lse_vi"] < FORMAT:  # before potentials had units, or a period
        state = {n: p for n, p in pot.state_dict().items() if n.startswith("units.")} | state
    pot.load_state_dict(state)
    for name in saved.get("frozen", ()):  # files before this entry do not say
        pot.get_parameter(name).requires_grad_(False)
    return pot


def _check_state(state: dict[str, Any], config: dict[str, Any]) -> None:
    """The tensors must be numbers, and as large as the file says: before any memory is taken."""
    small = max(len(state["alpha"].shape), len(config["hidden"])) <= len(state)
    if not small or state["alpha"].shape != (*config["batch_shape"], config["modes"]):
        raise ValueError("the tensors are not those of the configuration")
    for name, p in state.items():
        if p.untyped_storage().nbytes() < p.numel() * p.element_size():
            raise ValueError(f"{name} is larger than its content")
        if bool(p.isnan().any()):
            raise ValueError(f"{name} holds NaN")
    size = LSEICNN(**config, device="meta").state_dict()
    wrong = [n for n, p in size.items() if n in state and state[n].shape != p.shape]
    if wrong or not {name for name, _ in size.items() if "units." not in name} <= set(state):
        raise ValueError(f"wrong shapes of {wrong}, or tensors that are missing")
