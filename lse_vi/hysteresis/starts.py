r"""Where a transition may be: every combination of start, width and lag on a lattice, at once.

Given these three, the share h of a transition follows the strain without the stress, and the stress
is linear in what remains: \sum_c b_c c + (j_0 + j_1 e) h, with the columns c of what is known. So
the best jumps and the error of each combination have a closed form (variable projection: Golub &
Pereyra 1973), and no start has to be guessed from a plateau that noise may hide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lse_vi.hysteresis.elements import Element
from lse_vi.materials.play import follow

# The lattice, as shares of the largest strain of a side. A lag is the width of the loop in strain.
STARTS = torch.linspace(0.02, 0.95, 20, dtype=torch.float64)
WIDTHS = torch.tensor([0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.9, 1.4, 2.2], dtype=torch.float64)
LAGS = torch.tensor([0.01, 0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6, 0.9], dtype=torch.float64)
LEAST_SIDE = 0.1  # of the largest strain: less compression than this is none
LEAST_NORM = 1e-8  # of a column that is new, relative to its own norm: else it says nothing
APART = 2  # lattice steps in any direction between two candidates


def candidates(
    strain: Tensor, stress: Tensor, weight: Tensor, known: Tensor, most: int
) -> list[Element]:
    """The best transitions to add, by how much they lower the squared error; at most ``most``.

    Args:
        strain, stress, weight: (times, tests), in units of the model.
        known: columns that are linear in the stress, (columns, times, tests).
    """
    found: list[tuple[float, Element]] = []
    for side in (1, -1):
        reach = float((side * strain).max())
        if reach > LEAST_SIDE * float(strain.abs().max()):
            found += _on_side(side, reach, strain, stress, weight, known, most)
    found.sort(key=lambda pair: -pair[0])
    return [element for _, element in found[:most]]


def share_of(strain: Tensor, side: int, start: Tensor, width: Tensor, lag: Tensor) -> Tensor:
    """h of transitions along paths, (times, tests, transitions)."""
    x = side * strain.unsqueeze(-1)
    low = ((x - start) / width).clamp(0.0, 1.0)
    high = ((x - start + lag) / width).clamp(0.0, 1.0)
    return follow(low, high)


def _on_side(
    side: int,
    reach: float,
    strain: Tensor,
    stress: Tensor,
    weight: Tensor,
    known: Tensor,
    most: int,
) -> list[tuple[float, Element]]:
    grid = torch.stack(torch.meshgrid(STARTS, WIDTHS, LAGS, indexing="ij"), dim=-1)
    index = torch.cartesian_prod(*(torch.arange(n) for n in grid.shape[:-1]))
    start, width, lag = (reach * grid.reshape(-1, 3)).T
    root = weight.sqrt().flatten()
    basis, _ = torch.linalg.qr((root * known.flatten(1)).mT)  # (rows, columns)
    y = root * stress.flatten()
    y = y - basis @ (basis.mT @ y)
    share = share_of(strain, side, start, width, lag).flatten(0, 1).mT  # (lattice, rows)
    both = torch.stack([root * share, root * strain.flatten() * share], dim=1)
    size = both.square().sum(-1)
    both = both - (both @ basis) @ basis.mT
    normal = both @ both.mT  # (lattice, 2, 2)
    normal = normal + torch.diag_embed(LEAST_NORM * size + 1e-300)
    right = both @ y  # (lattice, 2)
    two = torch.linalg.solve(normal, right)
    one = right[:, 0] / normal[:, 0, 0]
    ends = side * torch.stack([start - lag, start + width], dim=-1)
    slopes = -side * (two[:, :1] + two[:, 1:] * ends)  # dg/dx at both ends: it must rise
    good = (slopes > 0).all(-1) & (side * ends[:, 0] <= reach)
    jump = torch.where(good.unsqueeze(-1), two, torch.stack([one, torch.zeros_like(one)], -1))
    fall = torch.where(good, (right * two).sum(-1), right[:, 0] * one)
    fall = torch.where(good | (-side * one > 0), fall, 0.0)
    chosen: list[tuple[float, Element]] = []
    taken: list[Tensor] = []
    for k in fall.argsort(descending=True).tolist():
        if len(chosen) == most or float(fall[k]) <= 0:
            break
        if any(int((index[k] - other).abs().max()) < APART for other in taken):
            continue
        taken.append(index[k])
        jumps = (float(jump[k, 0]), float(jump[k, 1]))
        element = Element(side, float(start[k]), float(width[k]), float(lag[k]), jumps)
        chosen.append((float(fall[k]), element))
    return chosen
