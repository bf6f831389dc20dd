"""The gate's formula and its inverse."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lse_vi import LSEICNN
from lse_vi.network.gates import CLOSED, alpha_of, log_gate


@given(st.floats(1e-12, 1 - 1e-12))
def test_the_inverse_undoes_the_gate(gate):
    alpha = torch.tensor(alpha_of(gate))
    assert float(log_gate(alpha).exp()) == pytest.approx(gate, rel=1e-9)


def test_gates_are_those_of_the_paper():
    """Its Eq. 6 at alpha = 0, 2 and 4."""
    alpha = torch.tensor([0.0, 2.0, 4.0])
    sigmoid = [1 / (1 + math.exp(10)), 0.5, 1 / (1 + math.exp(-10))]
    assert log_gate(alpha).exp().tolist() == pytest.approx(sigmoid)
    assert float(log_gate(torch.tensor(CLOSED))) == pytest.approx(-100.0)
    assert LSEICNN(1, 2, gate=0.3).gates.tolist() == pytest.approx([0.3, 0.3])
