r"""The fit of one model to the rows that have weight, by second-order steps.

The derivatives of all rows by all parameters come from two passes. With the shares w_k of the
phases, the stress of a row is \sum_k w_k f_k'(e), and a state h is the edge of its window,
1/2 + (g -+ k)/A, at the row where it last moved. So the derivatives are those of f_k and f_k' at
every row, read at the row itself and at the row of that move.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lse_vi.hysteresis.data import Data
from lse_vi.hysteresis.elements import phase_stress
from lse_vi.materials.elastic import Elastic
from lse_vi.materials.play import Moves, Play, moves
from lse_vi.network.substitution import substitute
from lse_vi.numerics.least_squares import Solution, least_squares

# Residuals beyond this many robust deviations count as if they were there (Huber 1964): of a normal
# law that costs 5 % of the information at 1.345, and next to none here.
HUBER = 2.5
NORMAL = 1.4826  # standard deviations of a normal law in one median of |x|
ROUNDS = 3  # of new weights


def moving(model: Elastic) -> list[nn.Parameter]:
    """The parameters that a fit moves: those of the phases, then those of friction.

    Gates and rho are left out: they are constants in the energies of the phases.
    """
    named = dict(model.potential.network.named_parameters())
    named.pop("off_diagonal", None)  # of a matrix with one entry
    return [*named.values(), *([model.raw] if isinstance(model, Play) else [])]


def vector(model: Elastic) -> Tensor:
    """The parameters that a fit moves, in a row."""
    return torch.cat([p.detach().flatten() for p in moving(model)])


@torch.no_grad()
def put(model: Elastic, x: Tensor) -> None:
    """Write such a row into ``model``."""
    moved = moving(model)
    for p, part in zip(moved, x.split([p.numel() for p in moved]), strict=True):
        p.copy_(part.reshape(p.shape))


class Errors:
    """Model minus data at all rows, in units of the model, and its derivatives.

    Args:
        model: a material; it is left with the parameters of the last call.
        data: the tests.
    """

    def __init__(self, model: Elastic, data: Data) -> None:
        self.model, self.target = model, data.stress
        self.prepared = data.prepared(model)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(parameters,) -> (times * tests,)."""
        put(self.model, x)
        state = self.model.march(self.prepared)
        stress = self.model.unit_stress(self.prepared, state)[..., 0]
        return (stress - self.target).flatten()

    def jacobian(self, x: Tensor) -> Tensor:
        """(parameters,) -> (times * tests, parameters)."""
        put(self.model, x)
        model, shape = self.model, self.target.shape
        energy, slope, by_energy, by_slope = _phases(model, self.prepared.x.reshape(-1, 1))
        if not isinstance(model, Play):
            return torch.cat([part.flatten(1) for part in by_slope], dim=1)
        with torch.no_grad():
            low, high = model._window(energy.reshape(*shape, -1))
            last = moves(low, high)
            state = last.at(low, high).flatten(0, 1)
            shares = model._shares(state)  # (rows, phases)
            pull = slope @ model.flow  # d stress / d h, (rows, transitions)
            source, inside = _sources(last, state)
            pull = pull * inside / model.mixing
            blocks = []
            for d_energy, d_slope in zip(by_energy, by_slope, strict=True):
                block = shares[..., None] * d_slope  # (rows, phases, entries)
                for j in range(model.transitions):
                    gain = -model.flow[:, j, None] * d_energy[source[:, j]]
                    block = block + pull[:, j, None, None] * gain
                blocks.append(block.flatten(1))
            up = last.up.flatten(0, 1).to(pull)
            friction = torch.stack([(0.5 - state) * pull, -up * pull, (1 - up) * pull], dim=1)
            by_raw = friction * torch.sigmoid(model.raw)  # of softplus
            return torch.cat([*blocks, by_raw.flatten(1)], dim=1)


def train(
    model: Elastic,
    data: Data,
    *,
    steps: int,
    settled: float = 1e-10,
    robust: bool = False,
    prior: float = 0.0,
) -> Solution:
    """Fit ``model`` in place.

    Args:
        model: the start.
        data: the tests; rows of weight 0 do not count.
        steps, settled: as for :func:`~lse_vi.numerics.least_squares.least_squares`.
        robust: give rows far off less weight, found in turns with the fit.
        prior: weight of the squared distance of all parameters from the start.
    """
    errors, start, weight = Errors(model, data), vector(model), data.weight.flatten()
    eye, tie = torch.eye(len(start)).to(start), torch.full_like(start, prior)

    def residuals(x: Tensor) -> Tensor:
        return torch.cat([errors(x), x - start])

    def jacobian(x: Tensor) -> Tensor:
        return torch.cat([errors.jacobian(x), eye])

    solution = Solution(start, torch.inf, 0)
    for _ in range(ROUNDS if robust else 1):
        now = weight
        if robust:
            size = errors(solution.x).abs()
            deviation = NORMAL * float(size[weight > 0].median())
            tiny = torch.finfo(size.dtype).tiny
            now = weight * (HUBER * deviation / size.clamp_min(tiny)).clamp_max(1.0)
        solution = least_squares(
            residuals,
            jacobian,
            solution.x,
            weight=torch.cat([now, tie]),
            steps=steps,
            settled=settled,
        )
    put(model, solution.x)
    return solution


def _phases(model: Elastic, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """f_k and f_k' at strains (rows, 1), (rows, phases), and their derivatives by each parameter.

    Those are (rows, phases, entries): each row has a copy of the parameters, so that the gradient
    of the sum over rows holds all of them.
    """
    network = model.potential.network
    names = {name: p for name, p in network.named_parameters() if name != "off_diagonal"}
    wide = {n: p.detach().expand(len(x), *p.shape).requires_grad_() for n, p in names.items()}
    with torch.enable_grad():
        stack, layout = substitute(network, wide, batch_dims=0).stack().place(x)
        energy, kept = stack.forward(layout.x)
        slope = stack.pullback(torch.ones_like(energy), kept)
        leaves = list(wide.values())
        by_energy = _gradients(energy.sum(), leaves)
        by_slope = _gradients(slope.sum(), leaves)
    each = phase_stress(model, x[:, 0]).detach()
    gates = (model.potential.log_gates / model.potential.rho).detach()
    energy = layout.restore(energy).detach() - gates
    flat = [
        [g.reshape(len(x), model.potential.modes, -1) for g in part]
        for part in (by_energy, by_slope)
    ]
    return energy, each, flat[0], flat[1]


def _gradients(total: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]


def _sources(last: Moves, state: Tensor) -> tuple[Tensor, Tensor]:
    """The row, counted over all tests, where each state last moved; whether it is inside (0, 1).

    An edge at 0 or 1 does not change with the parameters. Two (rows, transitions).
    """
    tests = last.row.shape[1]
    offset = torch.arange(tests).reshape(1, tests, 1)
    source = (last.row * tests + offset).flatten(0, 1)
    inside = last.moved.flatten(0, 1) & (state > 0) & (state < 1)
    return source, inside.to(state)
