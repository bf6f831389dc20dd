"""Weakly informative priors over the parameters of a potential, on standardised data."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from lse_vi.network.potential import LSEICNN

# (mean, standard deviation) of each parameter, for data of mean 0 and standard deviation 1. The
# maps inside g_k act on the coordinates of the mode's frame, so their scales do not depend on how
# narrow the mode is.
_SCALES = {
    "weight": (0.0, 5.0),  # V_l: slopes of the softplus units
    "bias": (0.0, 5.0),  # b_l: where the units bend
    "inner": (0.5, 1.0),  # raw W_l, of softplus(raw) / fan-in
    "output": (2.0, 2.0),  # raw w: strength of the correction g_k
    "loc": (0.0, 1.5),  # m_k: within the data
    "log_diagonal": (1.0, 1.5),  # log of L_k: modes from 0.1 to 1.6 standard deviations wide
    "off_diagonal": (0.0, 3.0),  # of L_k, as large as its diagonal: any correlation
    "alpha": (1.0, 1.0),  # logit gate ~ N(-5, 5^2): open or closed, rarely between
    "log_rho": (-3.0, 1.5),  # soft transitions: rho from 0.002 to 1
}
# The same of log L_k where a side of the support is open and the other is not: a density that falls
# from a wall, as an exponential, is the tail of a mode that may be far wider than the data.
_OPEN_WIDTH = (0.0, 3.0)
# Deviation of V_l and b_l of a plain mode, five times that in a frame: a plain mode has no frame,
# so the slopes themselves carry its width.
_PLAIN_SLOPE = 25.0
# Parameters with a heavy tail: those of a mode's shape, and its place, which may be an outlier's.
_HEAVY = ("weight", "bias", "inner", "output", "loc")
# Student's t of these: its degrees of freedom, few enough that a steep wall costs the logarithm of
# its slope; and its scale in units of the deviation above, wider as its mass is more concentrated.
_FREEDOM, _WIDER = 2.0, 2.0


def prior_moments(pot: LSEICNN) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of a normal prior for every parameter of ``pot``, by name.

    For a Bayesian model of a potential on standardised data. Each tensor has the shape of its
    parameter. The prior of the gates is sparse: a logit that is normal with standard deviation 5
    puts most of its mass near gates of 0 and 1.

    Example:
        >>> mean, deviation = prior_moments(LSEICNN(1, 2))["alpha"]
        >>> mean.shape, deviation.shape
        (torch.Size([2]), torch.Size([2]))
    """
    moments = {}
    for name, p in pot.named_parameters():
        mean, sd = _moments(name, pot)
        moments[name] = (torch.full_like(p, mean), torch.full_like(p, sd))
    return moments


def prior_weights(pot: LSEICNN, *, half_open: bool = False) -> dict[str, Tensor]:
    r"""How strongly :func:`log_prior` pulls each trained parameter to its mean, by name.

    .. math:: -\partial \log p / \partial \theta = w (\theta - \mu)

    with w = 1 / sd^2 of a normal law and w = (nu + 1) / (nu s^2 + (theta - mu)^2) of a Student's t:
    the curvature of the parabola that touches minus the log prior from above, positive everywhere
    (the weights of iteratively reweighted least squares; Lange, Little & Taylor 1989).

    Args:
        pot: of the density.
        half_open: as for :func:`log_prior`.

    Example:
        >>> prior_weights(LSEICNN(1, 2))["alpha"]
        tensor([1., 1.])
    """
    weights = {}
    for name, p in pot.named_parameters():
        if p.requires_grad:
            mean, sd = _law(name, pot, half_open)
            if _kind(name, pot) in _HEAVY:
                square = (p.detach() - mean).square() + _WIDER**2 * _FREEDOM * sd**2
                weights[name] = (_FREEDOM + 1) / square
            else:
                weights[name] = torch.full_like(p, sd**-2)
    return weights


def log_prior(pot: LSEICNN, *, half_open: bool = False) -> Tensor:
    """Log density of the prior of the trained parameters, up to a constant: (*batch,).

    The penalty that keeps a fit by :func:`fit_density` from extremes. Widths of the modes are
    normal, by :func:`prior_moments`. Their locations and the parameters of their shapes follow a
    Student's t with 2 degrees of freedom and twice that scale: a mode may lie on an outlier, it
    stays a Gaussian unless the data contradict it, and a steep wall costs the logarithm of its
    slope, not the square.

    Args:
        pot: of the density.
        half_open: whether a side of the support is open; modes may then be wider.

    Example:
        >>> log_prior(LSEICNN(1, 2, batch_shape=(3,))).shape
        torch.Size([3])
    """
    parts: dict[bool, list[tuple[Tensor, float, float]]] = {True: [], False: []}
    for name, p in pot.named_parameters():
        if isinstance(p, nn.Parameter) and not p.requires_grad:
            continue
        heavy = _kind(name, pot) in _HEAVY
        law = _law(name, pot, half_open)
        parts[heavy].append((p.reshape(*pot.batch_shape, -1), *law))
    total = torch.zeros_like(pot.log_rho)
    # All parameters of a law at once: every step of a fit comes here, and small tensors cost most.
    for heavy, own in parts.items():
        if not own:
            continue
        theta = torch.cat([p for p, _, _ in own], dim=-1)
        sizes = tuple((mean, sd, p.shape[-1]) for p, mean, sd in own)
        mean, sd = _constants(sizes, theta.dtype, theta.device)
        square = ((theta - mean) / sd).square()
        if heavy:
            square = (_FREEDOM + 1) * torch.log1p(square / (_WIDER**2 * _FREEDOM))
        total = total - 0.5 * square.sum(-1)
    return total


@lru_cache(maxsize=64)
def _constants(
    sizes: tuple[tuple[float, float, int], ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Means and deviations of parameters side by side, (mean, deviation, number) of each."""
    means, deviations, numbers = zip(*sizes, strict=True)
    with torch.inference_mode(False):  # they are kept, and may meet a gradient later
        repeats = torch.tensor(numbers, device=device)
        mean, deviation = (
            torch.tensor(values, dtype=dtype, device=device).repeat_interleave(repeats)
            for values in (means, deviations)
        )
    return mean, deviation


def _moments(name: str, pot: LSEICNN) -> tuple[float, float]:
    """Mean and standard deviation of the parameter ``name``."""
    mean, sd = _SCALES[_kind(name, pot)]
    return mean, _PLAIN_SLOPE if name in ("network.weight", "network.bias") else sd


def _law(name: str, pot: LSEICNN, half_open: bool) -> tuple[float, float]:
    """As :func:`_moments`, where modes may be wider if a side of the support is open."""
    if half_open and name.endswith("log_diagonal"):
        return _OPEN_WIDTH
    return _moments(name, pot)


def _kind(name: str, pot: LSEICNN) -> str:
    """The entry of ``_SCALES`` for the parameter ``name``."""
    if name.endswith(f"raw_inner.{len(pot.hidden) - 1}"):
        return "output"
    return "inner" if "raw_inner" in name else name.rsplit(".", 1)[-1]
