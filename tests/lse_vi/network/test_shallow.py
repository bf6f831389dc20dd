"""Sums over shallow convex functions: values and gradients of first and second order."""

import pytest
import torch

from lse_vi.network import shallow
from lse_vi.network.shallow import Shallow, log_mixture, moments, place

N, MODES = 3, 2


def functions(dim, units):
    features = 1 + dim + dim * (dim + 1) // 2
    shapes = [(units, dim), (units,), (units,), (features,)]
    return Shallow(*(torch.randn(N, MODES, *shape, requires_grad=True) for shape in shapes))


def by_hand(f, x):
    """f at points x (n, dim), one unit and one coefficient after another: (N, MODES, n)."""
    dim = x.shape[1]
    products = [x[:, i] * x[:, j] for i in range(dim) for j in range(i, dim)]
    phi = [torch.ones(len(x)), *x.T, *products]
    value = sum(f.q[..., i : i + 1] * part for i, part in enumerate(phi))
    for j in range(f.b.shape[-1]):
        z = f.b[..., j : j + 1] + (f.a[..., j, :].unsqueeze(-2) * x).sum(-1)
        value = value + f.c[..., j : j + 1] * torch.log1p(z.exp())
    return value


@pytest.mark.parametrize("units", [0, 1, 3])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_log_of_a_mixture_is_that_of_its_definition(dim, units, monkeypatch):
    monkeypatch.setattr(shallow, "BLOCK", 30)  # several blocks
    f, x, w = functions(dim, units), torch.randn(7, dim), torch.rand(7)
    expected = torch.logsumexp(-by_hand(f, x), -2) @ w
    found = log_mixture(f, place(x, w))
    torch.testing.assert_close(found, expected)
    weights = torch.randn(N)
    of_found, of_expected = (
        torch.autograd.grad((weights * value).sum(), f, allow_unused=True)
        for value in (found, expected)
    )
    for a, b in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b)


@pytest.mark.parametrize("dim", [1, 2])
def test_moments_are_sums_over_the_nodes(dim):
    f, x, log_w = functions(dim, 2), torch.randn(9, dim), torch.randn(9)
    log_p = log_w - by_hand(f, x)
    nodes = place(x, log_w)
    log_z, mean = moments(f, nodes)
    torch.testing.assert_close(log_z, log_p.logsumexp(-1))
    torch.testing.assert_close(mean, torch.softmax(log_p, -1) @ nodes.phi.T)


def test_gradients_of_first_and_second_order():
    f, x, w = functions(1, 2), torch.randn(4, 1), torch.rand(4)
    for value in (
        lambda *parts: log_mixture(Shallow(*parts), place(x, w)),
        lambda *parts: moments(Shallow(*parts), place(x, w)),
    ):
        assert torch.autograd.gradcheck(value, tuple(f))
        assert torch.autograd.gradgradcheck(value, tuple(f))
