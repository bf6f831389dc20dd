"""Invariants do not depend on the observer, and their stress is the derivative of the energy."""

import pytest
import torch

from lse_vi.materials.invariants import Components, Isotropic, TransverselyIsotropic

AXIS = (1.0, 2.0, -0.5)
SETS = [Isotropic(), TransverselyIsotropic(), TransverselyIsotropic(AXIS)]


def symmetric(*shape):
    e = torch.randn(*shape, 3, 3)
    return (e + e.mT) / 2


def rotation(axis=None):
    """A random rotation, about ``axis`` if given."""
    spin = torch.randn(3) if axis is None else 1.3 * torch.tensor(axis)
    x, y, z = spin
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))


@pytest.mark.parametrize("invariants", SETS)
def test_rotations_that_respect_the_axis_change_nothing(invariants):
    strain, rate = symmetric(7), symmetric(7)
    r = rotation(None if isinstance(invariants, Isotropic) else invariants.axis.tolist())
    turned, turned_rate = r @ strain @ r.mT, r @ rate @ r.mT
    torch.testing.assert_close(invariants(turned), invariants(strain))
    with_rate = invariants.with_rate(strain, rate)
    torch.testing.assert_close(invariants.with_rate(turned, turned_rate), with_rate)
    slope = torch.randn(7, invariants.dim)
    stress = invariants.stress(strain, slope)
    torch.testing.assert_close(invariants.stress(turned, slope), r @ stress @ r.mT)


def test_other_rotations_change_the_fibre_invariants_alone():
    strain, r = symmetric(7), rotation()
    change = (TransverselyIsotropic()(r @ strain @ r.mT) - TransverselyIsotropic()(strain)).abs()
    assert (change[:, :3] < 1e-12).all()
    assert (change[:, 3:].amax(0) > 1e-2).all()


@pytest.mark.parametrize("invariants", [*SETS, Components(4)])
def test_stress_is_the_derivative_of_the_energy(invariants):
    """For Psi = sum_i c_i I_i + |I|^2/2, against autograd in full three-dimensional strain."""
    vector = isinstance(invariants, Components)
    strain = torch.randn(7, 4) if vector else symmetric(7)
    strain.requires_grad_()
    c, x = torch.randn(invariants.dim), invariants(strain)
    (exact,) = torch.autograd.grad((x @ c + x.square().sum(-1) / 2).sum(), strain)
    exact = exact if vector else (exact + exact.mT) / 2
    stress = invariants.stress(strain.detach(), (c + x).detach())
    torch.testing.assert_close(stress, exact)
    if not vector:
        torch.testing.assert_close(stress, stress.mT)


def test_invariants_against_their_definitions():
    e, v, a = symmetric(), symmetric(), torch.tensor(AXIS) / torch.tensor(AXIS).norm()
    tr = torch.trace
    strain = [tr(e), tr(e @ e), tr(e @ e @ e)]
    rate = [tr(v), tr(v @ v), tr(v @ v @ v), tr(e @ v), tr(e @ e @ v), tr(e @ v @ v)]
    fibre = [a @ e @ a, a @ e @ e @ a]
    fibre_rate = [a @ v @ a, a @ v @ v @ a, a @ e @ v @ a]
    isotropic, transverse = Isotropic(), TransverselyIsotropic(AXIS)
    assert isotropic.with_rate(e, v).shape == (isotropic.rate_dim,) == (9,)
    torch.testing.assert_close(isotropic(e), torch.stack(strain))
    torch.testing.assert_close(isotropic.with_rate(e, v), torch.stack(strain + rate))
    torch.testing.assert_close(transverse(e), torch.stack(strain + fibre))
    expected = torch.stack(strain + rate + fibre + fibre_rate)
    torch.testing.assert_close(transverse.with_rate(e, v), expected)


def test_dtype_is_carried_along():
    strain = symmetric(3).float()
    transverse = TransverselyIsotropic()
    assert transverse(strain).dtype == torch.float32
    assert transverse.stress(strain, torch.ones(3, 5, dtype=torch.float32)).dtype == torch.float32


@pytest.mark.parametrize("axis", [(0, 0, 0), (1, 0), (1, 0, float("nan"))])
def test_bad_axis_is_refused(axis):
    with pytest.raises(ValueError, match="axis"):
        TransverselyIsotropic(axis)
