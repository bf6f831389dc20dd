"""The potential: a soft minimum of its modes, its derivatives, and its copies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lse_vi.network.potential
from lse_vi import ICNN, LSEICNN, WhitenedICNN

NETWORKS = st.sampled_from([ICNN, WhitenedICNN])
SEEDS = st.integers(0, 2**32 - 1)
SHARPNESS = st.sampled_from([0.05, 0.5, 1.0, 3.0, 30.0])
HIDDEN = st.sampled_from([(), (5,), (10, 10)])
BATCHES = st.sampled_from([(), (3,), (2, 3)])


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, network=NETWORKS, rho=SHARPNESS, modes=st.integers(1, 6), batch_shape=BATCHES)
def test_energy_is_a_soft_minimum(random_potential, seed, network, rho, modes, batch_shape):
    """min_k (f_k - log(s_k)/rho) <= E <= the same + log(K)/rho."""
    pot = random_potential(seed, 2, modes, network=network, rho=rho, batch_shape=batch_shape)
    x = 5 * torch.randn(50, *batch_shape, 2)
    with torch.no_grad():
        energy = pot(x)
        lowest = (pot.mode_potentials(x) - pot.log_gates / pot.rho[..., None]).amin(-1)
    slack = 1e-12 * (1 + lowest.abs())
    assert (lowest - slack <= energy).all()
    assert (energy <= lowest + math.log(modes) / rho + slack).all()


@settings(deadline=None, max_examples=40)
@given(
    seed=SEEDS,
    network=NETWORKS,
    rho=st.sampled_from([0.05, 1.0, 5.0]),
    dim=st.integers(1, 4),
    hidden=HIDDEN,
    batch_shape=BATCHES,
)
def test_gradient_and_hessian(random_potential, seed, network, rho, dim, hidden, batch_shape):
    """Against autograd for E and central differences for grad E."""
    pot = random_potential(
        seed, dim, network=network, rho=rho, hidden=hidden, batch_shape=batch_shape
    )
    x = torch.randn(4, *batch_shape, dim, requires_grad=True)
    energy, gradient = pot.energy_and_gradient(x)
    close(energy, pot(x))
    close(gradient, torch.autograd.grad(energy.sum(), x)[0])
    step = 1e-5
    with torch.no_grad():
        close(pot.gradient(x), gradient)
        differences = [
            (pot.gradient(x + step * e) - pot.gradient(x - step * e)) / (2 * step)
            for e in torch.eye(dim)
        ]
        hessian = pot.hessian(x)
    close(hessian, hessian.mT)
    torch.testing.assert_close(hessian, torch.stack(differences, -2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_derivatives_can_be_fitted(random_potential, network):
    """The gradient and the Hessian of E are themselves differentiable in the parameters."""
    pot = random_potential(1, 2, network=network)
    x = torch.randn(5, 2)
    start = {name: p.detach() for name, p in pot.named_parameters()}
    direction = {name: torch.randn_like(p) for name, p in start.items()}

    def loss(t):
        moved = pot.with_parameters({name: p + t * direction[name] for name, p in start.items()})
        return moved.gradient(x).square().sum() + moved.hessian(x).square().sum()

    t = torch.zeros((), requires_grad=True)
    slope = torch.autograd.grad(loss(t), t)[0]
    difference = (loss(torch.tensor(1e-5)) - loss(torch.tensor(-1e-5))) / 2e-5
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=0.0)


@given(seed=SEEDS, network=NETWORKS, rho=SHARPNESS, batch_shape=BATCHES)
@settings(deadline=None, max_examples=30)
def test_responsibilities_sum_to_one_and_weigh_the_gradients(
    random_potential, seed, network, rho, batch_shape
):
    pot = random_potential(seed, 2, network=network, rho=rho, batch_shape=batch_shape)
    x = torch.randn(6, *batch_shape, 2, requires_grad=True)
    r = pot.responsibilities(x)
    assert (r >= 0).all()
    close(r.sum(-1), torch.ones(6, *batch_shape), 1e-12)
    f = pot.mode_potentials(x)
    slopes = torch.stack(
        [torch.autograd.grad(f[..., k].sum(), x, retain_graph=True)[0] for k in range(3)], -2
    )
    close(pot.gradient(x), (r.unsqueeze(-1) * slopes).sum(-2))


@pytest.mark.parametrize("rho", [1e-3, 1e4])
def test_large_energies_neither_overflow_nor_vanish(random_potential, rho):
    pot = random_potential(0, 2, network=WhitenedICNN, rho=rho)
    x = 1e4 * torch.randn(20, 2)
    assert pot(x).isfinite().all()
    assert pot.gradient(x).isfinite().all()
    assert pot.responsibilities(x).isfinite().all()


@given(seed=SEEDS, network=NETWORKS, rho=SHARPNESS)
@settings(deadline=None, max_examples=30)
def test_the_gate_alone_identifies_nothing(random_potential, seed, network, rho):
    """(s_k, f_k) -> (s_k exp(rho c), f_k + c) leaves E and the responsibilities as they are."""
    pot = random_potential(seed, 2, network=network, rho=rho)
    other = random_potential(seed, 2, network=network, rho=rho)
    bias = (other.network.icnn if network is WhitenedICNN else other.network).bias
    with torch.no_grad():
        other.alpha.copy_(3 * torch.rand(3))  # gates from 5e-5 to 0.99
        bias[:, -1] += (other.log_gates - pot.log_gates) / rho
    x = torch.randn(20, 2)
    close(other(x), pot(x))
    close(other.responsibilities(x), pot.responsibilities(x), 1e-6)


@given(
    seed=SEEDS,
    network=NETWORKS,
    rho=SHARPNESS,
    batch_shape=BATCHES,
    order=st.permutations(range(4)),
)
@settings(deadline=None, max_examples=40)
def test_the_order_of_the_modes_means_nothing(
    random_potential, reorder, seed, network, rho, batch_shape, order
):
    """The same energies, gradients and Hessians; responsibilities go along with their modes."""
    pot = random_potential(seed, 2, 4, network=network, rho=rho, batch_shape=batch_shape)
    other, x = reorder(pot, order), torch.randn(10, *batch_shape, 2)
    with torch.no_grad():
        close(other(x), pot(x), 1e-12)
        close(other.gradient(x), pot.gradient(x), 1e-10)
        close(other.hessian(x), pot.hessian(x), 1e-10)
        close(other.responsibilities(x), pot.responsibilities(x)[..., order], 1e-10)
        close(other.mode_potentials(x), pot.mode_potentials(x)[..., order], 1e-12)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_the_order_of_the_modes_changes_no_minimum_and_no_count(random_potential, reorder, network):
    pot, order = random_potential(3, 2, 4, network=network, spread=0.3), [2, 0, 3, 1]
    other, x = reorder(pot, order), 2 * torch.randn(100, 2)
    here, there = pot.minima(x), other.minima(x)
    torch.testing.assert_close(there.points, here.points, rtol=0, atol=1e-6)
    close(there.energies, here.energies)
    assert torch.equal(other.active_modes(x), pot.active_modes(x)[order])
    kept = torch.tensor([True, False, True, True])
    close(other.prune(kept[order])(x), pot.prune(kept)(x))


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_batches_are_independent_potentials(random_potential, network):
    pot = random_potential(0, 2, network=network, batch_shape=(2, 3), hidden=(4, 5))
    with torch.no_grad():
        pot.log_rho.normal_()
    x = torch.randn(7, 2, 3, 2)
    for i, j in np.ndindex(2, 3):
        one, mine = pot.select((i, j)), x[:, i, j]
        close(pot(x)[:, i, j], one(mine), 1e-12)
        close(pot.gradient(x)[:, i, j], one.gradient(mine), 1e-12)
        close(pot.hessian(x)[:, i, j], one.hessian(mine), 1e-12)
        close(pot.responsibilities(x)[:, i, j], one.responsibilities(mine), 1e-12)
    row = pot.select(1)
    assert row.batch_shape == (3,)
    close(pot(x)[:, 1], row(x[:, 1]), 1e-12)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize(
    ("own", "points"),
    [((1,), (3,)), ((2, 1), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (1, 3)), ((1, 2, 1), (3, 1, 2))],
)
def test_batches_broadcast(random_potential, network, own, points):
    """Against the same potential with every parameter expanded to the full batch."""
    pot = random_potential(0, 2, network=network, batch_shape=own)
    batch, x = torch.broadcast_shapes(own, points), torch.randn(4, *points, 2)
    tail = {name: p.shape[len(own) :] for name, p in pot.named_parameters()}
    full = pot.with_parameters(
        {name: p.expand(*batch, *tail[name]) for name, p in pot.named_parameters()}
    )
    wide = x.expand(4, *batch, 2)
    assert full.batch_shape == batch
    for method in ("__call__", "gradient", "hessian", "responsibilities", "mode_potentials"):
        close(getattr(pot, method)(x), getattr(full, method)(wide), 1e-12)


def test_shared_points_reach_every_element_of_the_batch(random_potential):
    pot = random_potential(0, 2, batch_shape=(2, 3))
    x, wide = torch.randn(7, 1, 1, 2), torch.Size((7, 2, 3, 2))
    close(pot(x), pot(x.expand(wide)), 1e-12)
    close(pot.gradient(x), pot.gradient(x.expand(wide)), 1e-12)
    close(pot.hessian(x), pot.hessian(x.expand(wide)), 1e-12)
    close(pot(x[0, 0, 0]), pot(x[0].expand(2, 3, 2)), 1e-12)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_float32_is_carried(random_potential, network):
    pot = random_potential(0, 2, network=network, dtype=torch.float32)
    x = torch.randn(5, 2, dtype=torch.float32)
    results = [pot(x), pot.gradient(x), pot.hessian(x), pot.responsibilities(x), pot.rho, pot.gates]
    results += [*pot.minima(x), pot.prune(torch.tensor([True, False, True]))(x)]
    assert {r.dtype for r in results} == {torch.float32}


def test_no_points_give_no_values(random_potential):
    pot, none = random_potential(0, 2, batch_shape=(4,)), torch.zeros(0, 4, 2)
    assert pot(none).shape == (0, 4)
    assert pot.gradient(none).shape == (0, 4, 2)
    assert pot.hessian(none).shape == (0, 4, 2, 2)
    assert pot.responsibilities(none).shape == (0, 4, 3)


def test_active_modes_are_those_that_carry_data():
    """A mode behind the others, and one far from the data, are spare whatever their gates."""
    pot = LSEICNN(1, 4, hidden=(), rho=5.0, network=WhitenedICNN)
    with torch.no_grad():
        pot.network.loc.copy_(torch.tensor([[-2.0], [2.0], [2.0], [50.0]]))
        pot.network.icnn.bias.copy_(torch.tensor([[0.0], [0.0], [9.0], [0.0]]))
    x = torch.cat([torch.randn(50, 1) - 2, torch.randn(50, 1) + 2])
    assert pot.active_modes(x).tolist() == [True, True, False, False]


@given(seed=SEEDS, network=NETWORKS, rho=SHARPNESS, keep=st.lists(st.booleans(), min_size=4))
@example(seed=135606191, network=WhitenedICNN, rho=30.0, keep=[False] * 4)  # exp(-790) kept
@settings(deadline=None, max_examples=40)
def test_prune_drops_its_terms_of_the_sum(random_potential, seed, network, rho, keep):
    """E_pruned = E - log(sum_kept r_k) / rho, for any kept modes: log K is made up for.

    In logarithms, as what is kept may have a share of less than 1e-308.
    """
    mask = torch.tensor([*keep[:3], True])
    pot = random_potential(seed, 2, 4, network=network, rho=rho)
    small = pot.prune(mask)
    x = torch.randn(20, 2)
    log_terms = pot.log_gates - rho * pot.mode_potentials(x)
    log_kept = torch.logsumexp(log_terms[:, mask], -1) - torch.logsumexp(log_terms, -1)
    assert small.modes == mask.sum()
    close(small(x), pot(x) - log_kept / rho, 1e-8)
    assert small.alpha.data_ptr() != pot.alpha.data_ptr()


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_prune_lets_each_of_a_batch_keep_its_own(random_potential, network):
    pot = random_potential(3, 2, 4, network=network, batch_shape=(2,), rho=1.0)
    mask = torch.tensor([[True, False, False, True], [False, True, False, False]])
    small = pot.prune(mask)
    assert (small.modes, small.batch_shape) == (2, (2,))
    x = torch.randn(20, 2, 2)
    for i in range(2):
        one = pot.select(i).prune(mask[i])
        close(small(x)[:, i], one(x[:, i]), 1e-8)  # a closed gate: exp(-100) is left


@pytest.mark.parametrize("rho", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_spare_modes_of_a_batch_stay_out_of_sight_however_far_out(random_potential, network, rho):
    """There a mode that was dropped may be lower than the others by more than a gate closes."""
    pot = random_potential(5, 2, 4, network=network, batch_shape=(2,), rho=rho)
    mask = torch.tensor([[True, False, False, False], [True, False, True, True]])
    small = pot.prune(mask)
    for far in (1.0, 100.0, 1e4):
        x = far * torch.randn(50, 2, 2)
        for i in range(2):
            close(small(x)[:, i], pot.select(i).prune(mask[i])(x[:, i]), 1e-12 * far**2)


def test_copies_leave_the_original_alone(random_potential):
    pot = random_potential(0, 2, 3, batch_shape=(2,))
    before = {name: p.clone() for name, p in pot.state_dict().items()}
    copies = [
        pot.select(0),
        pot.prune(torch.ones(2, 3, dtype=torch.bool)),
    ]
    for copy in copies:
        with torch.no_grad():
            for p in copy.parameters():
                p.zero_()
    assert all(torch.equal(p, before[name]) for name, p in pot.state_dict().items())


@pytest.mark.parametrize("shape", [(50,), (50, 3), (7, 2, 3), (1, 3)])
def test_pieces_make_the_whole(random_potential, monkeypatch, shape):
    """Many points are evaluated in pieces: same energies, gradients and parameter gradients."""
    pot = random_potential(0, 2, 4, batch_shape=(3,) if len(shape) > 1 else ())
    x = torch.randn(*shape, 2)
    results = []
    for block in (2**24, 2**12):
        monkeypatch.setattr(lse_vi.network.potential, "LAYER_BYTES", block)
        pot.zero_grad()
        energy, gradient = pot.energy_and_gradient(x)
        torch.testing.assert_close(energy, pot(x))
        (energy.sum() + gradient.square().sum()).backward()
        results.append([energy, gradient, *(p.grad.clone() for p in pot.parameters())])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize("modes", [2, 3])
def test_each_potential_of_a_batch_is_scaled_by_its_own_factor(network, modes):
    """As many modes as potentials too: then a wrong axis would pass unseen."""
    pot, x = LSEICNN(2, modes, network=network, batch_shape=(2,)), torch.randn(5, 2, 2)
    with torch.no_grad():
        for p in pot.network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    before, factor = pot(x), torch.tensor([0.5, 3.0])
    pot.units.set_(height=factor)
    torch.testing.assert_close(pot.absorbed()(x), factor * before)
    pot.units.set_(height=1.0)
    pot.scale_energy_(factor)
    torch.testing.assert_close(pot(x), factor * before)


@pytest.mark.parametrize("value", [math.nan, math.inf, "a", True, [1.0, 2.0]], ids=str)
def test_an_offset_or_factor_that_is_no_number_is_refused(value):
    pot = LSEICNN(1, 2)
    for change, name in ((pot.add_offset_, "offset"), (pot.scale_energy_, "factor")):
        with pytest.raises((ValueError, TypeError), match=f"{name} must"):
            change(value)


@pytest.mark.parametrize("factor", [-1, 0, torch.tensor([1.0, -2.0])], ids=str)
def test_a_factor_is_positive(factor):
    with pytest.raises(ValueError, match=r"factor must be positive, but got .*(-1|0|-2)"):
        LSEICNN(1, 2, batch_shape=(2,)).scale_energy_(factor)


def test_an_offset_and_a_factor_may_be_plain_numbers():
    pot, x = LSEICNN(1, 2, batch_shape=(2,)), torch.randn(5, 2, 1)
    before = pot(x)
    pot.scale_energy_(3)
    pot.add_offset_(0.5)
    torch.testing.assert_close(pot(x), 3 * before + 0.5)


def test_a_blank_potential_of_another_batch_needs_a_period_for_it():
    assert LSEICNN(1, 2, batch_shape=(2,)).blank(1, (5,)).batch_shape == (5,)
    pot = LSEICNN(1, 2, batch_shape=(2,), network=WhitenedICNN, period=2.0)
    assert (pot.blank(3, (4, 2)).units.period == 2.0).all()
    pot.units.set_(period=torch.tensor([[2.0], [3.0]]))
    with pytest.raises(ValueError, match=r"batch_shape must end in \(2,\), that of the period"):
        pot.blank(1, (5,))
