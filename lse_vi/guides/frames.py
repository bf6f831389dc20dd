r"""The parameters of a guide as its training moves them: each mode in its own starting frame.

.. math:: L_k = D_k L_k^0, \qquad m_k = m_k^0 + (L_k^0)^{-1} \delta_k

A step of Adam then means the same for a mode of any width, and along all axes of a narrow ridge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lse_vi.network.icnn import whitened
from lse_vi.network.potential import LSEICNN

FRAME = ("network.loc", "network.log_diagonal", "network.off_diagonal")


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
