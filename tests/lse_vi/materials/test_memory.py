"""Models with memory: stress is dPsi/dE, states follow the path, gradients flow through time."""

import pytest
import torch

from lse_vi import LSEICNN, Components, Elastic, Isotropic, Memory, TransverselyIsotropic
from lse_vi.materials.clocks import ArcLength, Time
from lse_vi.materials.grids import EvenSteps, SampleSteps
from lse_vi.materials.paths import select
from lse_vi.materials.rates import Rate, RelaxationRate
from lse_vi.materials.steppers import Euler, Exponential, Heun

TIMES, PATHS, STATES = 9, 4, 3


@pytest.mark.parametrize("kind", ["elastic", "relaxing"])
def test_stress_is_the_derivative_of_the_energy(request, kind, strains):
    model, strain = request.getfixturevalue(kind)(), strains(PATHS).requires_grad_()
    response = model(strain)
    (slope,) = torch.autograd.grad(model.energy(strain, response.state.detach()).sum(), strain)
    torch.testing.assert_close(response.stress, (slope + slope.mT) / 2)


@pytest.mark.parametrize("lead", [(), (PATHS,), (2, 3)])
def test_paths_keep_their_shape_and_do_not_mix(lead, strains, relaxing):
    model, strain = relaxing(), strains(*lead)
    response = model(strain)
    assert response.stress.shape == strain.shape
    assert response.state.shape == (*strain.shape[:-2], STATES)
    assert model.dissipation(strain).shape == strain.shape[:-2]
    one = (0,) * len(lead)
    torch.testing.assert_close(model(strain[one]).stress, response.stress[one])
    assert torch.equal(response.state[..., 0, :], torch.zeros(*lead, STATES))


def test_vectors_as_they_are_are_an_input_too(relaxing):
    model = relaxing(Components(2))
    assert model(torch.randn(PATHS, TIMES, 2)).stress.shape == (PATHS, TIMES, 2)


def test_samples_put_in_between_change_nothing(strains, relaxing):
    model, strain = relaxing(), strains(PATHS)
    middle = 0.5 * (strain[:, 1:] + strain[:, :-1])
    finer = torch.stack([strain[:, :-1], middle], dim=2).flatten(1, 2)
    finer = torch.cat([finer, strain[:, -1:]], dim=1)
    torch.testing.assert_close(model(finer).stress[:, ::2], model(strain).stress)
    lost = model.dissipation(finer)
    both = lost[:, 1::2] + lost[:, 2::2]
    torch.testing.assert_close(both, model.dissipation(strain)[:, 1:], rtol=1e-6, atol=1e-9)


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


@pytest.mark.parametrize(("kind", "options"), [("relaxing", ()), ("plain", (ArcLength(), Heun()))])
def test_gradient_through_time_against_finite_differences(request, kind, options, strains):
    model, strain = request.getfixturevalue(kind)(*options), strains(2, times=5)
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


def test_work_is_stored_or_dissipated(strains, relaxing):
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


def test_some_of_the_paths(strains, relaxing):
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
    def test_strain(self, strain, error, match, relaxing):
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
    def test_times(self, times, match, strains, plain):
        with pytest.raises(ValueError, match=match):
            plain(Time())(strains(PATHS), times)

    def test_step_without_hidden_layers(self):
        with pytest.raises(ValueError, match="hidden"):
            Rate(3, 2, hidden=())


def test_the_default_steps_are_the_samples(plain):
    assert isinstance(plain(ArcLength()).steps, SampleSteps)
