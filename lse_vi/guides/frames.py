r"""The parameters of a guide as its training moves them: each mode in its own starting frame.

.. math:: L_k = D_k L_k^0, \qquad m_k = m_k^0 + (L_k^0)^{-1} \delta_k

A step of Adam then means the same for a mode of any width, and along all axes of a narrow ridge.
The mean of the last steps is what is kept: it has less noise than any one of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN

FRAME = ("network.loc", "network.log_diagonal", "network.off_diagonal")
# Of Adam, the decays of the mean gradient and of the mean square. The latter forgets in a hundred
# steps, not in a thousand as by default: a training takes a few hundred, and gradients shrink fast.
DECAYS = 0.9, 0.99
LEAST_ROOT = 1e-8  # added to the root of the mean square, as by default
# Steps that the mean of the parameters remembers, and those after which it begins to be one.
MEMORY, WARM_UP = 20, 10


class StartingFrames(nn.Module):
    """The trained parameters of ``pot``: delta and D in place of the frames, and the rest.

    Example:
        >>> from lse_vi.network.icnn import WhitenedICNN
        >>> pot = LSEICNN(2, 3, rho=1.0, network=WhitenedICNN)
        >>> frames, x = StartingFrames(pot), torch.zeros(5, 2)
        >>> torch.allclose(frames.potential()(x), pot(x), atol=1e-5)
        True
    """

    def __init__(self, pot: LSEICNN) -> None:
        super().__init__()
        self._pot = (pot,)  # hidden in a tuple: its own parameters are not trained
        network = whitened(pot.network)
        self.register_buffer("start", network.precision_factor().detach())
        self.register_buffer("center", network.loc.detach().clone())
        self.delta = nn.Parameter(torch.zeros_like(network.loc))
        self.log_diagonal = nn.Parameter(torch.zeros_like(network.loc))
        self.off_diagonal = nn.Parameter(torch.zeros_like(self.start))
        own = {name: p for name, p in pot.named_parameters() if p.requires_grad}
        self.names = [name for name in own if name not in FRAME]
        self.rest = nn.ParameterList(own[name].detach().clone() for name in self.names)

    start: Tensor
    center: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """The parameters of the potential by name, differentiable."""
        turn = self.off_diagonal.tril(-1) + torch.diag_embed(self.log_diagonal.exp())
        factor = turn @ self.start
        step = torch.linalg.solve_triangular(self.start, self.delta.unsqueeze(-1), upper=False)
        frame = (
            self.center + step.squeeze(-1),
            factor.diagonal(dim1=-2, dim2=-1).log(),
            factor.tril(-1),
        )
        return dict(zip(FRAME, frame, strict=True)) | dict(zip(self.names, self.rest, strict=True))

    def potential(self) -> LSEICNN:
        """The potential at these parameters, differentiable."""
        return self._pot[0].with_parameters(self.tensors())

    @torch.no_grad()
    def write_(self) -> None:
        """Put the parameters into the potential."""
        own = dict(self._pot[0].named_parameters())
        for name, value in self.tensors().items():
            own[name].copy_(value)


class AveragedAdam:
    r"""Adam, and a running mean of the parameters that it moves (Polyak & Juditsky 1992).

    .. math:: \bar\theta_t = (1 - a_t)\, \bar\theta_{t-1} + a_t\, \theta_t, \qquad
        a_t = \max\big(\tfrac1{20}, \tfrac{10}{10 + t}\big)

    Use it where gradients are noisy: the mean has less of that noise than the steps, the less the
    longer they are, so that they can be long. The first step of ``torch.optim.Adam`` loads torch's
    compiler, which takes longer than a short training.

    Args:
        moving: the module that the steps move, by the gradients of its parameters.
        mean: one like it, for the mean; both start at the same parameters.

    Example:
        >>> moving, mean = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> mean.load_state_dict(moving.state_dict())
        <All keys matched successfully>
        >>> adam = AveragedAdam(moving, mean)
        >>> for _ in range(300):
        ...     (moving.weight - 2.0).square().sum().backward()
        ...     adam.step(0.05)
        >>> torch.allclose(mean.weight, torch.tensor(2.0), atol=1e-2)
        True
    """

    def __init__(self, moving: nn.Module, mean: nn.Module) -> None:
        self.moving, self.mean, self.steps = moving, mean, 0
        self.slopes = [torch.zeros_like(p) for p in moving.parameters()]
        self.squares = [torch.zeros_like(p) for p in moving.parameters()]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step of size ``rate``; the gradients are used up."""
        self.steps += 1
        of_slope, of_square = (1 - decay**self.steps for decay in DECAYS)  # both start at zero
        share = max(1 / MEMORY, WARM_UP / (WARM_UP + self.steps))
        pairs = zip(self.moving.parameters(), self.mean.parameters(), strict=True)
        for (p, mean), slope, square in zip(pairs, self.slopes, self.squares, strict=True):
            if p.grad is None:
                continue
            slope.lerp_(p.grad, 1 - DECAYS[0])
            square.lerp_(p.grad.square(), 1 - DECAYS[1])
            root = (square / of_square).sqrt() + LEAST_ROOT
            p.sub_(rate * slope / of_slope / root)
            mean.lerp_(p, share)
            p.grad = None

    def restart(self) -> None:
        """Go on from the mean."""
        self.moving.load_state_dict(self.mean.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, apart from the mean."""
        moving = {name: p.detach().clone() for name, p in self.moving.state_dict().items()}
        slopes, squares = ([m.clone() for m in each] for each in (self.slopes, self.squares))
        return {"moving": moving, "steps": self.steps, "slopes": slopes, "squares": squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self.moving.load_state_dict(state["moving"])
        self.steps, self.slopes, self.squares = state["steps"], state["slopes"], state["squares"]
