"""Climbs to the peaks of a log joint."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

from benchmarks.targets import eight_schools
from lse_vi import AutoLSEICNN
from lse_vi.fitting.random_state import seeded
from lse_vi.guides import peak_search
from lse_vi.guides.peak_search import climb, find_peaks


def test_climbs_go_with_their_starts_where_some_have_no_log_joint():
    """The summits are -3 and 3; where x < -4 or x > 4 there is no density."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 10.0).mask(False))
        pyro.factor("wells", torch.where(x.abs() < 4, -((x.abs() - 3) ** 2), -torch.inf))

    guide = AutoLSEICNN(model, modes=2)
    guide()
    log_joint = guide.log_joint()
    for starts, summits in (
        ([5.0, 2.0, -6.0], [5.0, 3.0, -6.0]),
        ([-2.0, 5.0, 2.0], [-3.0, 5.0, 3.0]),
    ):
        ends = climb(log_joint, torch.tensor(starts).unsqueeze(1)).squeeze(1)
        assert ends.tolist() == pytest.approx(summits, abs=1e-3)


def test_peaks_in_other_units_and_back():
    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), torch.tensor([1e-6, 1e6])).to_event(1))
        pyro.factor("f", -((x / torch.tensor([1e-6, 1e6])).abs() - 1).square().sum(-1))

    guide = AutoLSEICNN(model)
    log_joint, prior = guide.in_units()
    peaks = find_peaks(log_joint, prior.draws).peaks
    assert len(peaks) == 4
    outside = peaks.outside(log_joint)
    torch.testing.assert_close(outside.log_mass, peaks.log_mass)  # masses have no units
    torch.testing.assert_close(guide.log_joint()(outside.x), outside.log_joint)
    for one, two in zip(
        vars(outside.inside(log_joint)).values(), vars(peaks).values(), strict=True
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("seed", range(8))
def test_the_neck_of_a_funnel_has_no_maxima(seed):
    """In single precision a hundred ends of ascents at a scale of 1e-6 looked like maxima."""
    torch.set_default_dtype(torch.float32)
    target = eight_schools(centred=True)
    with seeded(seed):
        log_joint, prior = AutoLSEICNN(target.model).in_units(*target.args)
        peaks = find_peaks(log_joint, prior.draws).peaks
    assert not bool(peaks.proper.any())
    assert len(peaks) == 1


def test_a_narrow_peak_within_a_broad_one_is_a_peak_of_its_own():
    """It is within a deviation of the broad one, but the broad one is far outside of it."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 10.0).mask(False))
        broad, narrow = dist.Normal(0.5, 1.0).log_prob(x), dist.Normal(0.0, 0.01).log_prob(x)
        pyro.factor("f", torch.logaddexp(broad, narrow - 3))

    log_joint, prior = AutoLSEICNN(model).in_units()
    assert len(find_peaks(log_joint, prior.draws).peaks) == 2


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_flat_priors_take_their_units_from_the_curvature(unit):
    """A line with flat priors on slope, intercept and deviation, in any units: least squares."""
    x = torch.linspace(60.0, 75.0, 50)
    y = unit * (3 * x + torch.randn(50))

    def model():
        flat = dist.constraints.real
        a, b = (pyro.sample(n, dist.ImproperUniform(flat, (), ())) for n in "ab")
        s = pyro.sample("s", dist.ImproperUniform(dist.constraints.positive, (), ()))
        pyro.sample("y", dist.Normal(a + b * x, s).to_event(1), obs=y)

    guide = AutoLSEICNN(model)
    search = guide.find_modes()
    assert len(search.peaks) == 1
    design = torch.stack([torch.ones(50), x], 1)
    exact = torch.linalg.lstsq(design, y.unsqueeze(1)).solution.flatten()
    torch.testing.assert_close(search.peaks.x[0, :2], exact, rtol=1e-5, atol=1e-5 * unit)


def flat(name, support=constraints.real):
    return pyro.sample(name, dist.ImproperUniform(support, (), ()))


def linear():
    pyro.factor("f", flat("x"))


def nothing_seen_of_a_scale():
    flat("scale", constraints.positive)


def heavier_than_cauchy():
    x = pyro.sample("x", dist.Cauchy(0.0, 1.0))
    pyro.factor("f", 1.5 * torch.log1p(x.square()))


def level_beside_a_level():
    both = flat("a") + flat("b")
    pyro.sample("y", dist.Normal(both, 1.0), obs=torch.tensor(1.0))


def constant():
    flat("x")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (linear, "The posterior is improper"),
        (nothing_seen_of_a_scale, "The posterior is improper"),
        (heavier_than_cauchy, "The posterior is improper"),
        (level_beside_a_level, "is it flat, or without a maximum"),
        (constant, "is it flat, or without a maximum"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_what_cannot_be_normalised_is_refused(model, text):
    with pytest.raises(ValueError, match=f"{text}.*proper prior"):
        AutoLSEICNN(model).find_modes()


def test_a_ridge_that_few_steps_do_not_climb_is_not_improper(monkeypatch):
    """A product is seen, ten thousand times better than its factors: ascents creep."""

    def model():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.LogNormal(0.0, 1.0))
        pyro.sample("y", dist.Normal(a * b, 1e-4), obs=torch.tensor(1.0))

    monkeypatch.setattr(peak_search, "ROUND_STARTS", 8)
    a, b = AutoLSEICNN(model).find_modes().peaks.x[0].tolist()
    assert a * math.exp(b) == pytest.approx(1.0, abs=1e-3)
