"""Periodic potentials: the sum over images, its derivatives, and the wells on the circle."""

import math

import pytest
import torch

from lse_vi import ICNN, LSEICNN, WhitenedICNN, load
from lse_vi.network.circle import apart, as_period, wrapped
from lse_vi.network.images import held, hold_, turns_of

TURN = 2 * math.pi
CASES = [(1, TURN), (2, (TURN, None)), (2, 3.0), (3, (None, 1.0, 360.0))]


def periodic(dim, period, batch=(), rho=1.0):
    torch.manual_seed(dim)
    pot = LSEICNN(
        dim, 3, rho=rho, hidden=(4,), network=WhitenedICNN, period=period, batch_shape=batch
    )
    scale = torch.where(pot.units.period.isfinite(), pot.units.period / 6, 1.0)
    pot.network.compose_affine_(torch.zeros_like(scale), scale)
    return pot


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize(("dim", "period"), CASES)
class TestEveryPeriod:
    def test_a_whole_turn_changes_nothing(self, dim, period, batch):
        pot = periodic(dim, period, batch)
        turn = torch.where(pot.units.period.isfinite(), pot.units.period, 0.0)
        x = torch.randn(6, *batch, dim) * torch.where(turn > 0, turn, 1.0)
        for function in (pot, pot.gradient, pot.responsibilities, pot.mode_potentials):
            torch.testing.assert_close(function(x - 2 * turn), function(x), atol=1e-12, rtol=1e-10)

    def test_it_is_the_sum_over_many_images(self, dim, period, batch):
        pot = periodic(dim, period, batch, rho=1.7)
        turn = as_period(period, dim)
        x = torch.randn(6, *batch, dim)
        ticks = [torch.arange(-9, 10) if p < math.inf else torch.arange(1) for p in turn]
        steps = torch.cartesian_prod(*ticks).reshape(-1, dim) * turn.nan_to_num(posinf=0.0)
        total = torch.stack([-1.7 * pot.unwrapped()(x + step) for step in steps]).logsumexp(0)
        torch.testing.assert_close(pot(x), -total / 1.7)
        modes = pot.log_gates - 1.7 * pot.mode_potentials(x)
        torch.testing.assert_close(pot(x), (math.log(3) - modes.logsumexp(-1)) / 1.7)

    def test_its_gradient_is_that_of_its_values(self, dim, period, batch):
        pot = periodic(dim, period, batch)
        x = torch.randn(6, *batch, dim).requires_grad_()
        (slope,) = torch.autograd.grad(pot(x).sum(), x)
        torch.testing.assert_close(pot.gradient(x), slope)
        assert pot.hessian(x).shape == (6, *batch, dim, dim)


def test_a_torsion_has_three_minima_the_one_at_pi_once():
    """Modes at -2 pi/3 + pi, 2 pi/3 - pi and pi: three wells of equal depth, as cos 3 phi has."""
    pot = LSEICNN(1, 3, hidden=(), rho=1.0, network=WhitenedICNN, period=TURN)
    at = torch.tensor([[-TURN / 6], [TURN / 6], [TURN / 2]])
    pot.network.reset_parameters(at, torch.full((3, 1, 1), 3.0))
    found = pot.minima(torch.linspace(-math.pi, math.pi, 41).unsqueeze(-1))
    assert len(found.points) == 3
    apart_ = apart(found.points.unsqueeze(1), at, torch.tensor(TURN)).abs().squeeze(-1)
    assert float(apart_.amin(0).max()) < 1e-6
    torch.testing.assert_close(found.energies, found.energies[:1].expand(3))


def test_periods_survive_copies_files_and_units(tmp_path):
    pot = periodic(2, (TURN, None), (2,))
    pot.save(tmp_path / "pot.pt")
    keep = torch.tensor([True, False, True]).expand(2, 3)
    pot.units.set_(shift=0.3, scale=2.0, height=3.0)
    x = torch.randn(5, 2, 2)
    turned = x + torch.tensor([TURN, 0.0])
    for other in (pot, pot.absorbed(), pot.prune(keep), load(tmp_path / "pot.pt")):
        torch.testing.assert_close(other(turned), other(x))
    torch.testing.assert_close(pot.absorbed()(x), pot(x))
    one = pot.select(1)
    torch.testing.assert_close(one(x[:, 1]), pot(x)[:, 1])


@pytest.mark.parametrize(
    ("period", "message"), [((1.0,), "2 entries"), (0.0, "positive"), ("ab", "number")]
)
def test_a_wrong_period_is_refused_by_name(period, message):
    with pytest.raises((TypeError, ValueError), match=f"period.*{message}"):
        LSEICNN(2, 2, network=WhitenedICNN, period=period)


def test_plain_modes_have_no_images():
    with pytest.raises(ValueError, match=r"period: expected strongly convex modes"):
        LSEICNN(1, 2, network=ICNN, period=TURN)


def test_points_are_wrapped_into_the_period_from_its_low_end_on():
    low = torch.tensor(-math.pi)
    x = torch.tensor([math.pi, -math.pi, -math.pi - 1e-17, 7 * math.pi]).unsqueeze(-1)
    inside = wrapped(x, torch.tensor(TURN), low)
    assert bool(((inside >= low) & (inside < low + TURN)).all())


def test_a_saved_state_is_finite_where_not_all_is_periodic():
    """A search for NaN and infinity in a state, as for a damaged one, finds nothing."""
    state = LSEICNN(2, 2, network=WhitenedICNN, period=(TURN, None)).state_dict()
    assert all(bool(p.isfinite().all()) for p in state.values())


def test_a_mode_held_to_a_period_is_uniform_and_narrower_ones_stay():
    pot = periodic(2, (TURN, None))
    pot.network.log_diagonal.data[0] -= 9.0
    stay = pot.network.log_diagonal[1:].clone()
    with pytest.raises(ValueError, match=r"widest mode is .* periods wide"):
        pot(torch.zeros(1, 2))
    hold_(pot)
    torch.testing.assert_close(pot.network.log_diagonal[1:], stay)
    x = torch.stack([torch.linspace(-3, 3, 9), torch.zeros(9)], -1)
    wide = pot.mode_potentials(x).detach()[:, 0]
    assert float(wide.max() - wide.min()) < 1e-7
    assert not held(pot)


def test_a_wall_at_the_origin_of_a_wide_frame_costs_no_images():
    """Where the minimum is bounded from one point, a steep slope there asks for thousands."""
    pot = LSEICNN(1, 1, hidden=(1,), rho=1.0, network=WhitenedICNN, period=TURN)
    icnn = pot.network.icnn
    icnn.weight.data[0, 0], icnn.bias.data[0, 0] = 2_000.0, 0.0  # g = softplus(2000 u)
    icnn.raw_inner[0].data.fill_(1.0)
    pot.network.log_diagonal.data.fill_(-math.log(TURN))
    assert len(turns_of(pot.network, torch.tensor([TURN]), pot.log_rho)) < 60
    x = torch.linspace(-3, 3, 9).unsqueeze(-1)
    steps = torch.arange(-50, 51) * TURN
    total = torch.stack([-pot.unwrapped()(x + step) for step in steps]).logsumexp(0)
    torch.testing.assert_close(pot(x), -total)
