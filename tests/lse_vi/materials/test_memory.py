"""Models with memory: stress is dPsi/dE, states follow the path, gradients flow through time."""

import math

import pytest
import torch

from lse_vi import LSEICNN, Components, Elastic, Isotropic, Memory, TransverselyIsotropic
from lse_vi.materials.clocks import ArcLength, Time
from lse_vi.materials.grids import EvenSteps, SampleSteps
from lse_vi.materials.paths import select
from lse_vi.materials.rates import Rate, RelaxationRate
from lse_vi.materials.steppers import Euler, Exponential, Heun

TIMES, PATHS, STATES = 9, 4, 3
UNITS = {"strain_unit": 0.2, "stress_unit": 0.5}


def strains(*lead, times=TIMES, scale=0.2):
    """Smooth random paths of symmetric strains, (*lead, times, 3, 3)."""
    s = torch.linspace(0, 1, times).reshape(-1, 1, 1)
    a, b = scale * torch.randn(2, *lead, 1, 3, 3)
    e = a * s + b * torch.sin(5 * s)
    return (e + e.mT) / 2


def relaxing(invariants=None, stepper=None, **options):
    invariants = invariants or TransverselyIsotropic()
    rate = RelaxationRate(invariants.dim, STATES, hidden=(7,))
    potential = LSEICNN(invariants.dim + STATES, 2, hidden=(5,))
    options = {"steps": EvenSteps(0.05), **UNITS, **options}
    return Memory(potential, invariants, rate, stepper=stepper or Exponential(), **options)


def plain(clock, stepper=None):
    invariants = Isotropic()
    rate = Rate(invariants.rate_dim, STATES, hidden=(7,))
    potential = LSEICNN(invariants.dim + STATES, 2, hidden=(5,))
    return Memory(potential, invariants, rate, stepper=stepper or Euler(), clock=clock, **UNITS)


def elastic():
    return Elastic(LSEICNN(5, 2, hidden=(5,)), TransverselyIsotropic(), **UNITS)


@pytest.mark.parametrize("build", [elastic, relaxing])
def test_stress_is_the_derivative_of_the_energy(build):
    model, strain = build(), strains(PATHS).requires_grad_()
    response = model(strain)
    (slope,) = torch.autograd.grad(model.energy(strain, response.state.detach()).sum(), strain)
    torch.testing.assert_close(response.stress, (slope + slope.mT) / 2)


@pytest.mark.parametrize("lead", [(), (PATHS,), (2, 3)])
def test_paths_keep_their_shape_and_do_not_mix(lead):
    model, strain = relaxing(), strains(*lead)
    response = model(strain)
    assert response.stress.shape == strain.shape
    assert response.state.shape == (*strain.shape[:-2], STATES)
    assert model.dissipation(strain).shape == strain.shape[:-2]
    one = (0,) * len(lead)
    torch.testing.assert_close(model(strain[one]).stress, response.stress[one])
    assert torch.equal(response.state[..., 0, :], torch.zeros(*lead, STATES))


def test_vectors_as_they_are_are_an_input_too():
    model = relaxing(Components(2))
    assert model(torch.randn(PATHS, TIMES, 2)).stress.shape == (PATHS, TIMES, 2)


def test_a_model_by_length_knows_no_clock():
    model, strain, times = plain(ArcLength()), strains(PATHS), torch.linspace(0, 1, TIMES)
    torch.testing.assert_close(model(strain, times).stress, model(strain, times**2).stress)
    resting = torch.cat([strain[:, :4], strain[:, 3:]], dim=1)  # a rest is no progress
    torch.testing.assert_close(model(resting).stress[:, 4:], model(strain).stress[:, 3:])


def test_a_model_by_time_knows_one():
    model, strain, times = plain(Time()), strains(PATHS), torch.linspace(0, 1, TIMES)
    slow, fast = model(strain, times).state, model(strain, 0.1 * times).state
    assert (slow - fast).abs().max() > 1e-3
    later = model(strain, times + 7.0).state
    torch.testing.assert_close(slow, later)


def test_samples_put_in_between_change_nothing():
    model, strain = relaxing(), strains(PATHS)
    middle = 0.5 * (strain[:, 1:] + strain[:, :-1])
    finer = torch.stack([strain[:, :-1], middle], dim=2).flatten(1, 2)
    finer = torch.cat([finer, strain[:, -1:]], dim=1)
    torch.testing.assert_close(model(finer).stress[:, ::2], model(strain).stress)
    lost = model.dissipation(finer)
    both = lost[:, 1::2] + lost[:, 2::2]
    torch.testing.assert_close(both, model.dissipation(strain)[:, 1:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("stepper", "order"), [(Euler(), 1), (Exponential(), 1), (Heun(), 2)])
def test_steppers_converge_at_their_order(stepper, order, seed):
    """On a straight path, halving the steps divides the error by 2^order."""
    torch.manual_seed(seed)
    strain = strains(times=2, scale=0.05)  # short: no step is near stiff
    model = relaxing(stepper=stepper)
    ends = []
    for n in (64, 128, 2048):
        model.steps = EvenSteps(float((strain[1] - strain[0]).norm()) / n)
        ends.append(model(strain).state[-1].detach())
    coarse, fine, exact = ends
    ratio = float((coarse - exact).norm() / (fine - exact).norm())
    assert math.log2(ratio) == pytest.approx(order, abs=0.1)


def test_the_exponential_step_is_exact_for_constant_speed_and_target():
    class Constant:
        def relaxation(self, h, drive):
            return torch.full_like(h, 50.0), torch.full_like(h, 2.0)

    h = torch.zeros(1)
    for ds in (0.01, 0.02):
        h = Exponential()(Constant(), h, None, None, torch.tensor([ds]))
    torch.testing.assert_close(h, 2.0 * (1 - torch.exp(torch.tensor([-1.5]))))


@pytest.mark.parametrize("stepper", [Euler(), Heun(), Exponential()])
def test_states_rest_within_their_interval_and_a_loop_there_closes(stepper):
    """Zero, not nearly zero: stress depends on strain alone, on random paths of full strain."""
    model = relaxing(stepper=stepper)
    with torch.no_grad():
        model.rate.head.bias[2 * STATES :] = 50.0  # half-widths
    there = strains(PATHS)
    there = there - there[:, :1]
    response = model(torch.cat([there, there.flip(1)], dim=1))
    assert not bool(response.state.any())
    torch.testing.assert_close(response.stress, response.stress.flip(1))


def test_an_elastic_range_does_not_know_the_direction_of_the_path():
    """At one strain and one set of states, both ways: a paper's rate differs, a range does not."""
    invariants, (strain, change) = TransverselyIsotropic(), strains(2, times=PATHS)
    h = torch.randn(PATHS, STATES)
    for model, same in ((relaxing(invariants), True), (plain(ArcLength()), False)):
        ways = [
            model.rate(h, model.rate.drive(model.rate.read(model.invariants, strain, way)))
            for way in (change, -change)
        ]
        assert torch.equal(*ways) == same


class Played:
    """At once into [x - 0.1, x + 0.1], x the first feature."""

    states = 1

    def read(self, invariants, strain, rate):
        return strain[..., :1]

    def drive(self, features):
        return features

    def relaxation(self, h, drive):
        speed = torch.full_like(h, 1e9)
        return speed, torch.minimum(torch.maximum(h, drive - 0.1), drive + 0.1)


@pytest.mark.parametrize("longest", [0.01, 0.3, 5.0])
def test_corners_are_sharp_however_long_the_steps(longest):
    """A state with play, exact at every sample on straight stretches (units of 1)."""
    model = Memory(
        LSEICNN(3, 2, hidden=(5,)),
        Components(2),
        Played(),
        stepper=Exponential(),
        steps=EvenSteps(longest),
    )
    turns = torch.randn(6, 5, 2)
    turns[:, 0] = 0.0
    share = torch.cat([torch.zeros(1), torch.rand(9).sort().values]).reshape(10, 1)
    path = torch.cat([torch.lerp(turns[:, [i]], turns[:, [i + 1]], share) for i in range(4)], dim=1)
    h, exact = torch.zeros(6), []
    for x in path[..., 0].unbind(1):
        h = torch.minimum(torch.maximum(h, x - 0.1), x + 0.1)
        exact.append(h)
    torch.testing.assert_close(model(path).state[..., 0], torch.stack(exact, dim=1))


@pytest.mark.parametrize("build", [relaxing, lambda: plain(ArcLength(), Heun())])
def test_gradient_through_time_against_finite_differences(build):
    model, strain = build(), strains(2, times=5)
    weights = torch.randn(2, 5, 3, 3)

    def loss():
        return (weights * model(strain).stress).sum()

    loss().backward()
    for p in model.parameters():
        direction = torch.randn_like(p)
        with torch.no_grad():
            values = []
            for eps in (1e-5, -1e-5):
                p.add_(eps * direction)
                values.append(loss())
                p.sub_(eps * direction)
        numeric = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close((p.grad * direction).sum(), numeric, rtol=1e-5, atol=1e-8)


def test_work_is_stored_or_dissipated():
    """Work = change of Psi + dissipation, as the samples become dense."""
    model = relaxing(steps=EvenSteps(0.0005)).requires_grad_(False)
    strain = strains(times=401)
    response = model(strain)
    work = torch.trapezoid(response.stress.flatten(1).mT, strain.flatten(1).mT, dim=-1).sum()
    psi = model.energy(strain, response.state)
    lost = model.dissipation(strain)
    gross = float(lost.abs().sum())  # what is lost and gained
    assert gross > 1e-4
    assert float(work) == pytest.approx(float(psi[-1] - psi[0] + lost.sum()), abs=0.004 * gross)


def test_some_of_the_paths():
    model, strain = relaxing(), strains(PATHS)
    part = select(model.prepare(strain), torch.tensor([2, 0]))
    torch.testing.assert_close(
        model.march(part), model(strain).state[[2, 0]].transpose(0, 1), rtol=1e-9, atol=1e-12
    )


class TestBadInput:
    def test_potential_of_another_size(self):
        with pytest.raises(ValueError, match="reads 5 invariants and 0 states"):
            Elastic(LSEICNN(3, 2), TransverselyIsotropic())
        with pytest.raises(ValueError, match="batch_shape"):
            Elastic(LSEICNN(3, 2, batch_shape=(4,)), Isotropic())

    def test_parts_that_do_not_fit(self):
        potential, invariants = LSEICNN(3 + STATES, 2), Isotropic()
        for rate, wanted in ((Rate(3, STATES), 9), (RelaxationRate(9, STATES), 3)):
            message = f"rate must read {wanted} features .* made for {12 - wanted}"
            with pytest.raises(ValueError, match=message):
                Memory(potential, invariants, rate, stepper=Euler())
        with pytest.raises(ValueError, match=r"stepper: Exponential\(\) .* rate is a Rate; use"):
            Memory(potential, invariants, Rate(9, STATES), stepper=Exponential())

    @pytest.mark.parametrize(
        ("strain", "error", "match"),
        [
            (torch.zeros(3, 3), ValueError, "shape"),
            (torch.zeros(1, 3, 3), ValueError, "two times"),
            (torch.zeros(4, 3, 3, dtype=torch.int64), TypeError, "floating-point"),
            (torch.zeros(4, 3, 3, dtype=torch.float32), TypeError, "dtype"),
            (torch.full((4, 3, 3), float("nan")), ValueError, "strain"),
            (torch.arange(36.0).reshape(4, 3, 3), ValueError, "symmetric"),
        ],
    )
    def test_strain(self, strain, error, match):
        with pytest.raises(error, match=match):
            relaxing()(strain)

    @pytest.mark.parametrize(
        ("times", "match"),
        [
            (None, "times must be given"),
            (torch.zeros(TIMES + 1), "shape"),
            (torch.zeros(TIMES), "increase"),
        ],
    )
    def test_times(self, times, match):
        with pytest.raises(ValueError, match=match):
            plain(Time())(strains(PATHS), times)

    def test_step_without_hidden_layers(self):
        with pytest.raises(ValueError, match="hidden"):
            Rate(3, 2, hidden=())


def test_the_default_steps_are_the_samples():
    assert isinstance(plain(ArcLength()).steps, SampleSteps)
