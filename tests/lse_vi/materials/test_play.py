"""A material of two phases obeys the second law whatever its parameters are."""

import pytest
import torch

from lse_vi import ICNN, LSEICNN, Isotropic, Play, TransverselyIsotropic, WhitenedICNN
from lse_vi.materials.play import follow
from lse_vi.network.icnn import softplus_inverse

SEEDS = range(5)


TREES = [None, (0, 1), (0, 0), (0, 1, 0)]  # parents of the phases after the first


def material(seed=0, rough=1.0, parents=None, network=ICNN):
    """Random parameters, thresholds and A included."""
    torch.manual_seed(seed)
    modes = 2 if parents is None else len(parents) + 1
    model = Play(
        LSEICNN(5, modes, hidden=(6, 6), network=network),
        TransverselyIsotropic(),
        strain_unit=0.2,
        stress_unit=0.5,
        parents=parents,
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(rough * torch.randn_like(p))
    return model.requires_grad_(False)


def strains(paths=20, times=60):
    """Random walks in full strain, with long and short steps."""
    e = 0.1 * torch.randn(paths, times, 3, 3) * torch.rand(paths, times, 1, 1) ** 3
    return ((e + e.mT) / 2).cumsum(1)


def test_a_state_is_a_chain_of_clips_and_so_is_its_gradient():
    low = torch.rand(40, 3, 2) - 0.2
    high = low + torch.rand(40, 3, 2)
    windows = torch.stack([low, high]).requires_grad_()
    scan = follow(*windows)
    h, loop = torch.zeros(3, 2), []
    for bottom, top in zip(*windows, strict=True):
        h = torch.minimum(torch.maximum(h, bottom), top)
        loop.append(h)
    loop = torch.stack(loop)
    assert torch.equal(scan, loop)
    weight = torch.randn_like(loop)
    ours, theirs = (torch.autograd.grad((weight * h).sum(), windows)[0] for h in (scan, loop))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_share_moves_in_these_tests(seed):
    assert (material(seed)(strains()).state.diff(dim=1).abs() > 0.01).double().mean() > 0.01


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize("parents", TREES)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_step_gains_energy(seed, parents, network):
    """When the share moves at fixed strain, Psi falls by D or more, and D is not negative."""
    model, strain = material(seed, parents=parents, network=network), strains()
    h = model(strain).state
    lost = model.dissipation(strain)
    before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
    released = model.energy(strain, before) - model.energy(strain, h)
    assert (lost >= 0).all()
    assert (released >= lost - 1e-12).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_is_the_minimiser_of_energy_and_dissipation(seed):
    model, strain = material(seed), strains(paths=3, times=30)
    h = model(strain).state
    before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
    grows, shrinks = model.thresholds * model.strain_unit * model.stress_unit
    trial = torch.linspace(0, 1, 501)

    def incremental(share):  # (..., 1) -> (...)
        change = (share - before).squeeze(-1)
        return model.energy(strain, share) + torch.where(change > 0, grows, -shrinks) * change

    best = torch.stack([incremental(t.expand_as(h)) for t in trial]).amin(0)
    assert (incremental(h) <= best + 1e-12).all()


@pytest.mark.parametrize("parents", TREES)
@pytest.mark.parametrize("seed", SEEDS)
def test_stress_is_the_derivative_of_the_energy(seed, parents):
    model, strain = material(seed, parents=parents), strains(paths=3).requires_grad_()
    response = model(strain)
    (slope,) = torch.autograd.grad(model.energy(strain, response.state.detach()).sum(), strain)
    torch.testing.assert_close(response.stress, (slope + slope.mT) / 2)


def test_work_of_a_closed_path_is_what_it_dissipates():
    """There and back along one direction, in small steps."""
    model = material(rough=0.0)
    s = torch.cat([torch.linspace(0, 1, 2001), torch.linspace(1, 0, 2001)[1:]])
    direction = torch.diag(torch.tensor([-0.3, 0.1, 0.0]))
    model.start((s.reshape(-1, 1, 1) * direction).unsqueeze(0))
    strain = s.reshape(-1, 1, 1) * direction
    response = model(strain)
    work = torch.trapezoid((response.stress * direction).sum((-2, -1)), s)
    psi = model.energy(strain, response.state)
    lost = model.dissipation(strain).sum()
    assert response.state.max() > 0.5
    assert float(lost) > 1e-3
    assert float(work) == pytest.approx(float(psi[-1] - psi[0] + lost), rel=1e-3)


def test_stress_tells_the_sum_of_the_thresholds_alone():
    model, strain = material(), strains()
    stress, total, c = model(strain).stress, model.thresholds.sum(), 0.1 * model.thresholds[1]
    grows, shrinks = model.thresholds
    model.raw[1:] = softplus_inverse(torch.stack([grows + c, shrinks - c]))
    model.potential.network.bias[0, -1] += c[0]  # f_1 + c
    torch.testing.assert_close(model.thresholds.sum(), total)
    torch.testing.assert_close(model(strain).stress, stress)


def test_start_lets_the_share_run_from_zero_to_one():
    model, strain = material(rough=0.0), strains()
    model.start(strain)
    far = strain.flatten(0, 1)[model.invariants(strain / 0.2).norm(dim=-1).argmax()]
    low, high = model._window(model._phases(model.invariants(torch.stack([0 * far, far]) / 0.2)))
    torch.testing.assert_close(0.5 * (low + high), torch.tensor([[0.15], [0.85]]))


def test_start_lets_the_shares_of_a_chain_run_one_after_another():
    model, strain = material(rough=0.0, parents=(0, 1, 2)), strains()
    model.start(strain)
    far = strain.flatten(0, 1)[model.invariants(strain / 0.2).norm(dim=-1).argmax()]
    x = model.invariants(far / 0.2)
    points = torch.linspace(0, 1, 4).unsqueeze(-1) * x
    low, high = model._window(model._phases(points))
    middle = 0.5 * (low + high)
    expected = torch.full((4, 3), 0.15).triu(0) + torch.full((4, 3), 0.85).tril(-1)
    for j in range(3):  # at the start and at the end of its own part of the path
        torch.testing.assert_close(middle[j : j + 2, j], expected[j : j + 2, j])
    assert (middle[:-1] <= middle[1:] + 1e-12).all()


def test_shares_add_up_to_one():
    for parents in TREES:
        model = material(parents=parents)
        state = torch.rand(7, model.transitions)
        torch.testing.assert_close(model._shares(state).sum(-1), torch.ones(7))


def test_a_start_needs_strain():
    model = material()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match="strain must not be zero everywhere"):
        model.start(0 * strains())
    with pytest.raises(ValueError, match=r"strain is empty: shape \(0, 60, 3, 3\)"):
        model.start(strains()[:0])
    for p, kept in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, kept)


def test_gradients_reach_every_parameter():
    model = material(rough=0.3).requires_grad_()
    model(strains()).stress.square().sum().backward()
    alone = {"potential.raw_rho"}  # rho weighs the gates against each other alone
    for name, p in model.named_parameters():
        assert p.grad is not None or name in alone, name


@pytest.mark.parametrize(
    ("potential", "match"),
    [
        (LSEICNN(3, 1), "two modes or more"),
        (LSEICNN(4, 2), "invariants"),
    ],
)
def test_a_potential_that_does_not_fit_is_refused(potential, match):
    with pytest.raises(ValueError, match=match):
        Play(potential, Isotropic())
