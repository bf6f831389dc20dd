"""The modes: convex, equal to the formula they are written from, and batched without mixing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import softplus

from lse_vi import ICNN, WhitenedICNN
from lse_vi.network.icnn import softplus_inverse

NETWORKS = [ICNN, WhitenedICNN]
SEEDS = st.integers(0, 2**32 - 1)
BATCHES = st.sampled_from([(), (2,), (2, 3)])


def random_network(seed, network, dim, modes=3, *, spread=0.5, **options):
    torch.manual_seed(seed)
    net = network(dim, modes, **options)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(spread * torch.randn_like(p))
    return net


def by_the_formula(net, x, mode):
    """Paper Eq. 5 at one point x (dim,), layer after layer; whitened modes add |u|^2/2."""
    if isinstance(net, WhitenedICNN):
        u = net.precision_factor()[mode] @ (x - net.loc[mode])
        return 0.5 * u @ u + by_the_formula(net.icnn, u, mode)
    widths = [w.shape[-1] for w in net.inner()] + [1]
    maps = net.weight[mode].split(widths)
    biases = net.bias[mode].split(widths)
    z = maps[0] @ x + biases[0]
    for w, v, b in zip(net.inner(), maps[1:], biases[1:], strict=True):
        z = w[mode] @ torch.logaddexp(z, torch.zeros(())) + v @ x + b
    return z[0]


@settings(deadline=None, max_examples=100)
@given(
    seed=SEEDS,
    network=st.sampled_from(NETWORKS),
    dim=st.integers(1, 6),
    hidden=st.sampled_from([(), (5,), (10, 10), (8, 8, 8)]),
    batch_shape=BATCHES,
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    length=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_modes_are_convex(seed, network, dim, hidden, batch_shape, spread, length):
    """Jensen's inequality on 128 segments per mode: more than 38,000 cases in all."""
    net = random_network(seed, network, dim, hidden=hidden, batch_shape=batch_shape, spread=spread)
    a = 3 * torch.randn(128, *batch_shape, dim)
    b = a + length * torch.randn_like(a)
    t = torch.rand(128, *batch_shape, 1)
    with torch.no_grad():
        chord = t * net(a) + (1 - t) * net(b)
        below = net(t * a + (1 - t) * b)
        scale = net(a).abs() + net(b).abs()
    assert (below <= chord + 1e-12 * (1 + scale)).all()


def test_modes_are_convex_where_softplus_turns_linear():
    """`softplus` of PyTorch drops by 2e-9 where it switches branch, unless told to wait."""
    net = ICNN(1, 1, hidden=(1,))
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[[1.0], [0.0]]]))
        net.bias.zero_()
    x = torch.linspace(15.0, 60.0, 4501)[:, None]
    second_difference = net(x).diff(n=2, dim=0)
    assert second_difference.min() > -1e-13


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, dim=st.integers(1, 6), hidden=st.sampled_from([(), (5,), (10, 10)]))
def test_whitened_modes_are_strongly_convex_in_their_frames(seed, dim, hidden):
    """f((a + b)/2) <= (f(a) + f(b))/2 - |u_a - u_b|^2/8, the modulus being one."""
    net = random_network(seed, WhitenedICNN, dim, hidden=hidden)
    a, b = 5 * torch.randn(2, 100, dim)
    with torch.no_grad():
        du = torch.einsum("kij,nj->nki", net.precision_factor(), a - b)
        middle = net((a + b) / 2) + du.square().sum(-1) / 8
        chord = (net(a) + net(b)) / 2
    assert (middle <= chord + 1e-12 * (1 + chord.abs())).all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("hidden", [(), (5,), (4, 7), (8, 8, 8)])
def test_modes_are_the_formula(network, hidden):
    net = random_network(0, network, 3, hidden=hidden)
    x = torch.randn(6, 3)
    expected = torch.stack([torch.stack([by_the_formula(net, p, k) for k in range(3)]) for p in x])
    torch.testing.assert_close(net(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("own", "points"),
    [
        ((), ()),
        ((3,), (3,)),
        ((3,), (1,)),
        ((1,), (3,)),
        ((2, 3), (2, 1)),
        ((2, 1), (1, 3)),
        ((2, 1), (2, 3)),
        ((1, 3), (2, 3)),
        ((1, 1), (2, 3)),
        ((1, 2, 1), (3, 1, 2)),
    ],
)
def test_batches_broadcast_as_one_by_one(network, own, points):
    """Points (4, *points, dim) at a batch `own` of stacks: each element as if it were alone."""
    net = random_network(0, network, 2, batch_shape=own)
    x = torch.randn(4, *points, 2)
    batch = torch.broadcast_shapes(own, points)
    values, wide = net(x), x.expand(4, *batch, 2)
    assert values.shape == (4, *batch, 3)
    for index in np.ndindex(*batch):
        single = network(2, 3)
        mine = {
            name: p.expand(*batch, *p.shape[len(own) :])[index]
            for name, p in net.state_dict().items()
        }
        single.load_state_dict(mine)
        at = (slice(None), *index)
        torch.testing.assert_close(values[at], single(wide[at]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
def test_one_point_serves_the_whole_batch(network):
    net = random_network(0, network, 2, batch_shape=(2, 3))
    x = torch.randn(2)
    torch.testing.assert_close(net(x), net(x.expand(2, 3, 2)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch_shape", [(), (2,)])
def test_no_points_give_no_values(network, batch_shape):
    net = network(3, 4, batch_shape=batch_shape)
    assert net(torch.zeros(0, *batch_shape, 3)).shape == (0, *batch_shape, 4)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, network=st.sampled_from(NETWORKS), dim=st.integers(1, 4), batch_shape=BATCHES)
def test_compose_affine(seed, network, dim, batch_shape):
    net = random_network(seed, network, dim, batch_shape=batch_shape)
    shift, scale = torch.randn(*batch_shape, dim), torch.rand(*batch_shape, dim) + 0.1
    x = torch.randn(5, *batch_shape, dim)
    before = net((x - shift) / scale)
    net.compose_affine_(shift, scale)
    torch.testing.assert_close(net(x), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
def test_float32_is_carried(network):
    net = random_network(0, network, 2, dtype=torch.float32)
    exact = random_network(0, network, 2)
    exact.load_state_dict(net.state_dict())
    x = torch.randn(50, 2, dtype=torch.float32)
    assert net(x).dtype == torch.float32
    torch.testing.assert_close(net(x).double(), exact(x.double()), rtol=1e-4, atol=1e-4)


def test_whitened_modes_start_as_bowls_at_their_centers():
    """With the small initial g, each mode is lowest near its own centre: within half a unit."""
    net = WhitenedICNN(2, 4)
    centers = torch.tensor([[-6.0, 0.0], [6.0, 0.0], [0.0, 6.0], [0.0, -6.0]])
    net.reset_parameters(centers)
    around = centers[:, None] + 0.5 * torch.nn.functional.normalize(torch.randn(4, 50, 2), dim=-1)
    with torch.no_grad():
        at = net(centers).diagonal()
        ring = torch.stack([net(around[k])[:, k] for k in range(4)])
    assert (ring > at[:, None]).all()


@given(y=st.floats(1e-300, 1e300))
def test_softplus_inverse(y):
    y = torch.tensor(y)
    torch.testing.assert_close(softplus(softplus_inverse(y), threshold=40), y, rtol=1e-12, atol=0)
