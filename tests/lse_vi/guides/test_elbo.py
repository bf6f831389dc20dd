"""Gradients of the ELBO in the parameters of a guide, against exact ones, and what they train."""

import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO

from lse_vi import AutoLSEICNN, EnergyELBO, ExactDraws, LaplaceMixture


class Exact:
    """A guide for `square` in one dimension, away from the best one, and its exact gradients."""

    def __init__(self, model, y, simpson_grid):
        self.model, self.y = model, y
        pyro.set_rng_seed(3)
        self.guide = AutoLSEICNN(model, modes=2, hidden=(3,))
        self.guide.find_modes(y)
        with torch.no_grad():
            for p in self.guide.parameters():
                p.add_(0.2 * torch.randn_like(p))
        self.parameters = [p for p in self.guide.parameters() if p.requires_grad]
        x, weight = simpson_grid(-12.0, 12.0, 4000)
        energy = self.guide.potential(x)
        log_q = -energy - (weight.log() - energy).logsumexp(0)
        log_joint = self.guide.log_joint(y)(x).detach()
        loss = (weight * log_q.exp() * (log_q - log_joint)).sum()
        self.loss = float(loss.detach())
        self.gradient = self.flat(torch.autograd.grad(loss, self.parameters))

    @staticmethod
    def flat(parts):
        return torch.cat([part.flatten() for part in parts])

    def estimate(self, elbo):
        """Loss and gradient once, as SVI would see them."""
        for p in self.parameters:
            p.grad = None
        loss = elbo.loss_and_grads(self.model, self.guide, self.y)
        return loss, self.flat([p.grad for p in self.parameters])

    @staticmethod
    def agrees(gradients, expected):
        """Along 20 fixed directions, the mean of ``gradients`` (repeats, n) is as expected."""
        along = torch.randn(expected.numel(), 20)
        error = (gradients @ along).std(0) / len(gradients) ** 0.5
        z = (gradients.mean(0) - expected) @ along / error
        assert float(z.abs().max()) < 4.5


@pytest.fixture
def exact(square, nine, simpson_grid):
    return Exact(square, nine, simpson_grid)


class TestGradients:
    def test_importance_samples_are_consistent(self, exact):
        """The error falls as one over the root of their number."""
        errors = []
        for n in (256, 65_536):
            runs = [exact.estimate(EnergyELBO(LaplaceMixture(n))) for _ in range(4)]
            gap = torch.stack([gradient for _, gradient in runs]) - exact.gradient
            errors.append(float(gap.square().sum(-1).mean().sqrt() / exact.gradient.norm()))
        assert runs[0][0] == pytest.approx(exact.loss, abs=0.02)
        assert errors[1] < 0.05
        assert errors[1] < errors[0] / 8  # 16 expected

    @pytest.mark.slow
    def test_exact_draws_are_unbiased_up_to_a_known_factor(self, exact):
        """On average over n draws the covariance is 1 - 1/n times the true one."""
        n, repeats = 4, 200
        elbo = EnergyELBO(ExactDraws(n, scale=LaplaceMixture(64)))
        gradients = torch.stack([exact.estimate(elbo)[1] for _ in range(repeats)])
        exact.agrees(gradients, (1 - 1 / n) * exact.gradient)

    @pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
    @pytest.mark.parametrize("elbo", [Trace_ELBO, TraceEnum_ELBO])
    def test_under_elbos_of_pyro(self, exact, elbo):
        """Their own score function, with the gradient of log Z: unbiased too."""
        elbo = elbo(num_particles=200, vectorize_particles=True, max_plate_nesting=0)
        gradients = torch.stack([exact.estimate(elbo)[1] for _ in range(100)])
        exact.agrees(gradients, exact.gradient)

    @pytest.mark.parametrize(
        "elbo",
        [
            EnergyELBO(LaplaceMixture(256)),
            EnergyELBO(ExactDraws(256)),
            Trace_ELBO(num_particles=256, vectorize_particles=True),
        ],
        ids=["importance", "exact", "trace"],
    )
    def test_svi_descends(self, elbo, square, nine, truth):
        guide = AutoLSEICNN(square, modes=2)
        guide.find_modes(nine)
        with torch.no_grad():
            guide.potential.network.loc += 0.15  # about one deviation of the modes
        svi = SVI(square, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
        before = EnergyELBO(LaplaceMixture(8192)).loss(square, guide, nine)
        for _ in range(60):
            svi.step(nine)
        after = EnergyELBO(LaplaceMixture(8192)).loss(square, guide, nine)
        assert after < before - 0.2
        assert after < -truth.log_evidence + 0.05

    def test_parameters_of_the_model_are_trained(self):
        def model(y):
            bias = pyro.param("bias", torch.tensor(0.0))
            x = pyro.sample("x", dist.Normal(0.0, 0.1))
            pyro.sample("y", dist.Normal(x + bias, 1.0), obs=y)

        guide = AutoLSEICNN(model, modes=1)
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), EnergyELBO(LaplaceMixture(64)))
        for _ in range(150):
            svi.step(torch.tensor(3.0))
        assert float(pyro.param("bias").detach()) == pytest.approx(3.0, abs=0.3)


class TestWithoutDensity:
    """The loss is infinite where points have none, and training goes on by the others."""

    @staticmethod
    def edge():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("edge", torch.where(x > 0.5, 0.0, -torch.inf))

    @staticmethod
    def factor():
        a = pyro.sample("x", dist.Normal(0.0, 1.0))
        covariance = torch.eye(2) + a * torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        pyro.sample(
            "y", dist.MultivariateNormal(torch.zeros(2), covariance), obs=torch.tensor([1.0, 0.5])
        )

    @pytest.mark.parametrize("name", [pytest.param("edge", marks=pytest.mark.slow), "factor"])
    def test_training_goes_on(self, name):
        model, elbo = getattr(self, name), EnergyELBO(LaplaceMixture(512))
        guide = AutoLSEICNN(model, modes=1)
        guide.find_modes()
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
        losses = [svi.step() for _ in range(20)]
        assert torch.inf in losses
        assert not any(loss != loss for loss in losses)
        assert all(bool(p.isfinite().all()) for p in guide.parameters())

    def test_none_at_all_is_refused(self):
        def model():
            pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.factor("never", torch.tensor(-torch.inf))

        guide = AutoLSEICNN(model, modes=1)
        guide()
        with pytest.raises(ValueError, match="minus infinity at all 64 points of the guide"):
            EnergyELBO(LaplaceMixture(64)).loss(model, guide)


class TestTrialRuns:
    """How a model is run is found out in the first step, and again if its arguments are others."""

    @staticmethod
    def counted(runs):
        def model(y):
            runs.append(None)
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y)):
                pyro.sample("y", dist.Normal(x, 1.0), obs=y)

        return model

    def test_are_made_once(self):
        runs = []
        model, elbo = self.counted(runs), EnergyELBO(LaplaceMixture(64))
        guide = AutoLSEICNN(model, modes=1)
        made = []
        for y in (torch.zeros(3), torch.ones(3), torch.ones(3), torch.ones(4), torch.zeros(4)):
            before = len(runs)
            elbo.loss(model, guide, y)
            made.append(len(runs) - before)
        assert made[1:3] == [2, 2]  # a look at the arguments, and all points at once
        assert made[4] == 2
        assert made[3] > 4

    def test_change_no_value(self):
        model, elbo = self.counted([]), EnergyELBO(LaplaceMixture(64))
        guide = AutoLSEICNN(model, modes=1)
        elbo.loss(model, guide, torch.zeros(3))
        for y in (torch.ones(3), torch.full((3,), 2.0)):
            losses = []
            for each in (elbo, EnergyELBO(LaplaceMixture(64))):
                pyro.set_rng_seed(1)
                losses.append(each.loss(model, guide, y))
            assert losses[0] == losses[1]

    def test_belong_to_a_model_and_a_guide(self):
        elbo = EnergyELBO(LaplaceMixture(64))
        for scale in (1.0, 2.0):

            def model(scale=scale):
                x = pyro.sample("x", dist.Normal(0.0, scale))
                pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(1.0))

            guide = AutoLSEICNN(model, modes=1, hidden=())
            guide.find_modes()
            exact = dist.Normal(0.0, (scale**2 + 1) ** 0.5).log_prob(torch.tensor(1.0))
            assert elbo.loss(model, guide) == pytest.approx(-float(exact), abs=1e-4)

    def test_other_gaps_are_noticed(self):
        def model(y):
            seen = ~y.isnan()
            with pyro.plate("data", len(y)):
                pyro.sample("y", dist.Normal(0.0, 1.0), obs=y.nan_to_num(), obs_mask=seen)

        y, elbo = torch.tensor([1.0, torch.nan]), EnergyELBO(LaplaceMixture(64))
        guide = AutoLSEICNN(model, modes=1)
        elbo.loss(model, guide, y)
        with pytest.raises(ValueError, match="mask of site 'y_unobserved' is not the one"):
            elbo.loss(model, guide, y.flip(0))

    def test_do_not_travel(self):
        model, elbo = self.counted([]), EnergyELBO(LaplaceMixture(64))
        elbo.loss(model, AutoLSEICNN(model, modes=1), torch.zeros(3))
        assert pickle.loads(pickle.dumps(elbo)).method == elbo.method
