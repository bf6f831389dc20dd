"""Rates dx/dt from observed paths, to fit a potential where only x(t) is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.interpolate import make_smoothing_spline
from torch import Tensor

from lse_vi.checks import check_finite
from lse_vi.numerics.arrays import as_floats
from lse_vi.signatures.checked import checked

ENDS = 2  # times at each end that give no points: the natural ends of the spline bias the rates
LEAST_TIMES = 9  # fewest times of a path: five are left without its ends


@checked
def rates_from_trajectories(
    times: Any, paths: Any, *, smoothing: float | None = None
) -> tuple[Tensor, Tensor]:
    """Points and rates dx/dt along paths, by a smoothing spline through each coordinate.

    Use it to fit the potential of a gradient flow: ``fit_potential(pot, x, gradient=-rates)``.

    Args:
        times: (times,), increasing, at least nine; the same for all paths. The first two and the
            last two give no points, as the natural ends of the spline bias the rates there.
        paths: (times, dim) or (times, n, dim), with noise or without.
        smoothing: the spline's penalty on curvature. By default generalised cross-validation
            chooses one for each coordinate (Woltring 1986, doi:10.1016/0141-1195(86)90098-7).

    Returns:
        The smoothed points and the rates there, each ((times - 4) * n, dim).

    Raises:
        ValueError: for times that do not increase, too few of them, or shapes that disagree.

    Example:
        >>> t = torch.linspace(0, 5, 40)
        >>> x, rates = rates_from_trajectories(t, torch.exp(-t).reshape(-1, 1, 1))
        >>> x.shape, rates.shape
        (torch.Size([36, 1]), torch.Size([36, 1]))
    """
    data, t = as_floats("paths", paths), as_floats("times", times)
    if data.dim() == 2:
        data = data.unsqueeze(1)
    if data.dim() != 3 or t.dim() != 1 or len(t) != len(data):
        raise ValueError(
            "paths must have shape (times, dim) or (times, n, dim) with one entry per time, but "
            f"got {tuple(data.shape)} for times of shape {tuple(t.shape)}"
        )
    check_finite("times", t)
    check_finite("paths", data)
    if len(t) < LEAST_TIMES or not bool((t.diff() > 0).all()):
        raise ValueError(f"times must be at least nine increasing numbers, but got {t.tolist()}")
    if smoothing is not None and not 0 <= smoothing < math.inf:
        raise ValueError(f"smoothing must be a finite number >= 0, but got {smoothing}")
    ticks = t.double().cpu().numpy()
    columns = data.double().cpu().numpy().reshape(len(t), -1)
    splines = [make_smoothing_spline(ticks, column, lam=smoothing) for column in columns.T]
    inner = ticks[ENDS:-ENDS]
    smooth = np.stack([spline(inner) for spline in splines], axis=-1)
    rates = np.stack([spline.derivative()(inner) for spline in splines], axis=-1)
    dtype = data.dtype if data.is_floating_point() else torch.get_default_dtype()

    def rows(columns: np.ndarray) -> Tensor:
        return torch.as_tensor(columns.reshape(-1, data.shape[-1]), dtype=dtype, device=data.device)

    return rows(smooth), rows(rates)
