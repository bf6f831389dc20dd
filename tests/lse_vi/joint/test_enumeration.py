"""Discrete sites are summed out: the log joint is that of the model marginalised by hand."""

import functools
import math
import time

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, config_enumerate
from pyro.ops.indexing import Vindex
from pyro.ops.stats import effective_sample_size

from lse_vi import AutoLSEICNN, fit_guide, sample_smc

Y = torch.tensor([-2.1, -1.7, -2.4, 1.9, 2.2, 1.4, 2.3], dtype=torch.float64)


def mixture(k):
    """Pyro's tutorial: weights, locations in a plate, a label for each datum."""

    def model(y):
        w = pyro.sample("w", dist.Dirichlet(y.new_full((k,), 2.0)))
        with pyro.plate("parts", k):
            loc = pyro.sample("loc", dist.Normal(y.new_zeros(()), 3.0))
        with pyro.plate("data", len(y)):
            label = pyro.sample("label", dist.Categorical(w))
            pyro.sample("y", dist.Normal(loc[label], 0.5), obs=y)

    def by_hand(y):
        w = pyro.sample("w", dist.Dirichlet(y.new_full((k,), 2.0)))
        with pyro.plate("parts", k):
            loc = pyro.sample("loc", dist.Normal(y.new_zeros(()), 3.0))
        each = dist.Normal(loc, 0.5).log_prob(y.unsqueeze(1)) + w.log()
        pyro.factor("y", each.logsumexp(1).sum())

    return model, by_hand, Y


def chain():
    """A hidden Markov model, its states one after the other."""

    def transition():
        return pyro.sample("rows", dist.Dirichlet(torch.ones(2, 2)).to_event(1))

    def model(y):
        rows, state = transition(), 0
        for t in pyro.markov(range(len(y))):
            state = pyro.sample(f"state{t}", dist.Categorical(rows[state]))
            pyro.sample(f"y{t}", dist.Normal(4.0 * state - 2.0, 1.0), obs=y[t])

    def by_hand(y):
        rows = transition()
        seen = dist.Normal(torch.tensor([-2.0, 2.0]), 1.0).log_prob(y.unsqueeze(1))
        forward = rows[0].log() + seen[0]
        for row in seen[1:]:
            forward = (forward.unsqueeze(1) + rows.log()).logsumexp(0) + row
        pyro.factor("y", forward.logsumexp(0))

    return model, by_hand, Y


def annotators():
    """Dawid and Skene: five of them label ten items, each with a table of errors of its own."""
    labels = torch.arange(50).reshape(10, 5) % 3 % 2

    def latents():
        share = pyro.sample("share", dist.Beta(2.0, 2.0))
        with pyro.plate("annotators", 5):
            return share, pyro.sample("right", dist.Beta(5.0, 2.0).expand([2]).to_event(1))

    def model(labels):
        share, right = latents()
        with pyro.plate("items", 10, dim=-2):
            truth = pyro.sample("truth", dist.Bernoulli(share)).long()
            with pyro.plate("annotators_again", 5, dim=-1):
                chosen = right[torch.arange(5), truth]
                says_one = torch.where(truth == 1, chosen, 1 - chosen)
                pyro.sample("label", dist.Bernoulli(says_one), obs=labels.double())

    def by_hand(labels):
        share, right = latents()
        one = dist.Bernoulli(right[:, 1]).log_prob(labels.double()).sum(1) + share.log()
        zero = dist.Bernoulli(1 - right[:, 0]).log_prob(labels.double()).sum(1) + (-share).log1p()
        pyro.factor("labels", torch.logaddexp(one, zero).sum())

    return model, by_hand, labels


def in_two_plates():
    """A label for each cell of a table, which half of the table does not see."""
    y = torch.linspace(-3, 3, 12).reshape(3, 4)
    seen = torch.arange(12).reshape(3, 4) % 2 == 0

    def model(y):
        loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 2.0).to_event(1))
        half = poutine.scale(scale=0.5), poutine.mask(mask=seen)
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1), half[0], half[1]:
            label = pyro.sample("label", dist.Bernoulli(0.3)).long()
            pyro.sample("y", dist.Normal(loc[label], 1.0), obs=y)

    def by_hand(y):
        loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 2.0).to_event(1))
        one, two = dist.Normal(loc[0], 1.0).log_prob(y), dist.Normal(loc[1], 1.0).log_prob(y)
        both = torch.logaddexp(one + math.log(0.7), two + math.log(0.3))
        pyro.factor("y", 0.5 * both[seen].sum())

    return model, by_hand, y


CASES = {
    "two parts": lambda: mixture(2),
    "three parts": lambda: mixture(3),
    "chain": chain,
    "annotators": annotators,
    "two plates": in_two_plates,
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@EACH
@pytest.mark.parametrize("marked", [True, False], ids=["config_enumerate", "unmarked"])
@pytest.mark.filterwarnings("ignore:.*would need to be allocated")
def test_value_and_gradient_are_those_of_the_sum_by_hand(case, marked):
    model, by_hand, y = case()
    guide = AutoLSEICNN(config_enumerate(model) if marked else model)
    ours, exact = guide.log_joint(y), AutoLSEICNN(by_hand).log_joint(y)
    z = torch.randn(5, guide.latent_dim)
    for one, two in zip(ours.value_and_gradient(z), exact.value_and_gradient(z), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.hessian(z), exact.hessian(z), rtol=1e-7, atol=1e-7)
    assert ours.plan.how == "vmap"


def test_in_an_outermost_plate_too():
    """Where vmap cannot run the model, and it is written for plates around it."""

    def model(y, checked):
        w = pyro.sample("w", dist.Dirichlet(torch.ones(2)))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("parts", 2):
            loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
        if checked:
            assert bool((scale > 0).all())  # vmap allows no such question
        with pyro.plate("data", len(y)):
            label = pyro.sample("label", dist.Categorical(w))
            pyro.sample("y", dist.Normal(Vindex(loc.unsqueeze(-2))[..., label], scale), obs=y)

    guide = AutoLSEICNN(model)
    joint, in_plate = guide.log_joint(Y, False), guide.log_joint(Y, True)
    z = torch.randn(4, guide.latent_dim)
    for one, two in zip(joint.value_and_gradient(z), in_plate.value_and_gradient(z), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    assert (joint.plan.how, in_plate.plan.how) == ("vmap", "plate")


@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_labels_weights_and_evidence_of_a_mixture(seed):
    """By symmetry each labelling has half of the mass; log Z by the trapezoidal rule."""

    def model(y):
        with pyro.plate("parts", 2):
            loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(y)):
            label = pyro.sample("label", dist.Bernoulli(0.5)).long()
            pyro.sample("y", dist.Normal(loc[label], 0.5), obs=y)

    t = torch.linspace(-6, 6, 1201)
    seen = dist.Normal(t.unsqueeze(1), 0.5).log_prob(Y)
    both = torch.logaddexp(seen.unsqueeze(1), seen.unsqueeze(0)) - math.log(2)
    prior = dist.Normal(0.0, 3.0).log_prob(t)
    joint = both.sum(-1) + prior + prior.unsqueeze(1)
    exact = float(joint.flatten().logsumexp(0)) + 2 * math.log(12 / 1200)
    res = fit_guide(model, AutoLSEICNN(model), Y, seed=seed, progress=False)
    assert abs(res.log_evidence - exact) < 0.01
    assert res.mode_weights.tolist() == pytest.approx([0.5, 0.5], abs=0.03)


@functools.cache
def within_a_labelling():
    """Draws by Pyro's NUTS that stay in the labelling where the first place is the lower one."""
    model, _, y = mixture(2)
    pyro.set_rng_seed(0)
    start = {"w": torch.zeros(1), "loc": torch.tensor([-2.0, 2.0])}
    chain = MCMC(
        NUTS(model), num_samples=1500, warmup_steps=300, initial_params=start, disable_progbar=True
    )
    chain.run(y)
    return chain.get_samples()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_draws_within_a_labelling_are_those_of_nuts(seed):
    """Means and deviations; NUTS sums the labels out by itself, in a way of its own."""
    model, _, y = mixture(2)
    draws = sample_smc(model, AutoLSEICNN(model), y, seed=seed, progress=False)
    first = int(draws.mode_locations["loc"][:, 0].argmin())
    own, chain = draws.select(mode=first), within_a_labelling()
    assert bool((chain["loc"][:, 0] < chain["loc"][:, 1]).all())
    for name in ("w", "loc"):
        one, two = own[name][:, 0], chain[name][:, 0]
        counts = len(one) * draws.ess / draws.mode.numel(), effective_sample_size(two[None], 0, 1)
        error = float(two.std()) * math.sqrt(sum(1 / float(n) for n in counts))
        assert abs(float(one.mean() - two.mean())) < 4.5 * error
        assert abs(float(one.std() - two.std())) < 4.5 * error


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3])
def test_the_sum_costs_at_most_twice_that_by_hand(k):
    """CPU seconds of values and gradients at 256 vectors, of 500 data: the least of five times."""
    model, by_hand, _ = mixture(k)
    y, least = 4 * torch.randn(500), []
    for each in (model, by_hand):
        guide = AutoLSEICNN(each)
        joint = guide.log_joint(y)
        z = torch.randn(256, guide.latent_dim)
        joint.value_and_gradient(z)
        seconds = []
        for _ in range(5):
            start = time.process_time()
            joint.value_and_gradient(z)
            seconds.append(time.process_time() - start)
        least.append(min(seconds))
    print(f"{k} parts: {least[0]:.4f} s, by hand {least[1]:.4f} s")
    assert least[0] < 2 * least[1]


def test_factors_that_are_far_apart_do_not_vanish():
    """-800 and 0 beside 0 and -800: the exponential of each by itself is zero."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        k = pyro.sample("k", dist.Categorical(logits=torch.tensor([-800.0, 0.0])))
        pyro.factor("f", torch.where(k == 0, x, x - 800.0))

    value, score = AutoLSEICNN(model).log_joint().value_and_gradient(torch.zeros(2, 1))
    exact = -800.0 + math.log(2) - 0.5 * math.log(2 * math.pi)
    assert value.tolist() == pytest.approx([exact] * 2)
    assert score.flatten().tolist() == pytest.approx([1.0] * 2)


def test_impossible_values_leave_the_gradient_finite():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        k = pyro.sample("k", dist.Bernoulli(0.5))
        j = pyro.sample("j", dist.Bernoulli(0.5))
        pyro.factor("never", torch.where(k == 1, -math.inf, x) + 0.0 * j)

    value, score = AutoLSEICNN(model).log_joint().value_and_gradient(torch.ones(2, 1))
    assert value.tolist() == pytest.approx([0.5 - math.log(2) - 0.5 * math.log(2 * math.pi)] * 2)
    assert score.flatten().tolist() == pytest.approx([0.0] * 2)


def test_what_cannot_be_summed_is_refused_by_name():
    def batch():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        k = pyro.sample("k", dist.Bernoulli(torch.full((3,), 0.5)))
        pyro.factor("f", x * k.sum(-1, keepdim=True))

    def support():
        k = pyro.sample("k", dist.Bernoulli(0.5))
        pyro.sample("x", dist.Uniform(0.0, 1.0 + k))

    def scales():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        k = pyro.sample("k", dist.Bernoulli(0.5))
        with poutine.scale(scale=2.0):
            pyro.factor("f", x * k)

    for model, text in (
        (batch, r"discrete site 'k' has a batch of shape \(3,\) outside of plates; put it in"),
        (support, r"support of site 'x' depends on a discrete site"),
        (scales, r"site 'f' depends on discrete sites and is scaled by 2.0, but others by 1.0"),
    ):
        with pytest.raises(ValueError, match=text):
            AutoLSEICNN(model).log_joint()(torch.zeros(2, 1))
