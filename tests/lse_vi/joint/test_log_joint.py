"""The log joint of many draws at once, and its derivatives."""

import math
import subprocess
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch

from lse_vi import AutoLSEICNN


def test_a_peak_where_autograd_has_no_second_derivative():
    """Torch's logaddexp has NaN for it far from where its terms meet; the peak counts anyway."""

    def model():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
        one, two = (dist.Normal(c, 1.0).log_prob(x).sum(-1) for c in (-20.0, 20.0))
        pyro.factor("both", torch.logaddexp(one, two))

    guide = AutoLSEICNN(model, modes=2)
    guide()
    at = torch.full((1, 2), 20.0)
    log_joint = guide.log_joint()
    assert not log_joint._autograd_hessian(at).isfinite().all()
    torch.testing.assert_close(
        log_joint.hessian(at), -torch.eye(2).unsqueeze(0), rtol=1e-8, atol=1e-8
    )
    assert len(guide.find_modes().peaks) == 2


def test_a_model_that_vmap_cannot_run_is_run_once_per_draw():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x if x.item() > 0 else 2 * x, 1.0), obs=torch.tensor(1.0))

    guide = AutoLSEICNN(model, modes=1)
    guide()
    told = r"the model cannot run under torch.vmap.*, about \S+ s for the 100,000 evaluations"
    with pytest.warns(UserWarning, match=told):
        value = guide.log_joint()(torch.tensor([[1.0], [-1.0]]))
    by_hand = -0.5 * torch.tensor([1.0 + 0.0, 1.0 + 9.0]) - math.log(2 * math.pi)
    assert value.tolist() == pytest.approx(by_hand.tolist())


def test_a_model_that_vmap_changes_is_run_once_per_draw():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("drift", x * (2.0 if torch._C._functorch.is_batchedtensor(x) else 1.0))

    guide = AutoLSEICNN(model, modes=1)
    guide()
    # ... if it can: in a plate it is as it is by itself, and as fast.
    value = guide.log_joint()(torch.ones(2, 1))
    assert value.tolist() == pytest.approx([0.5 - 0.5 * math.log(2 * math.pi)] * 2)


def test_a_cholesky_factor_that_does_not_exist_at_some_draws():
    """As in a Gaussian process with little noise: those draws have no density, and no error."""

    def model():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        covariance = torch.eye(2) + a * torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # if |a| < 1
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), covariance), obs=torch.zeros(2))

    guide = AutoLSEICNN(model)
    value, score = guide.log_joint().value_and_gradient(torch.tensor([[0.5], [2.0]]))
    exact = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.5)) - math.log(2 * math.pi)
    assert float(value[0]) == pytest.approx(float(exact) - 0.5 * math.log(0.75))
    assert bool(score[0].isfinite())
    assert float(value[1]) == -math.inf


def test_much_data_are_evaluated_in_pieces_that_fit_in_the_cache():
    def model(y):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(a, 1.0).expand(y.shape).to_event(1), obs=y)

    for n, chunk in ((10, 8192), (2**14, 2**6), (2**21, 1)):
        log_joint = AutoLSEICNN(model).log_joint(torch.zeros(n))
        value = log_joint(torch.linspace(-1, 1, 3).unsqueeze(1))
        assert log_joint.plan.chunk == chunk
        assert float(value[1]) == pytest.approx(-0.5 * (n + 1) * math.log(2 * math.pi))


MUCH = """
import pyro, pyro.distributions as dist, re, torch
from lse_vi import AutoLSEICNN
torch.manual_seed(0)

def peak():  # in KiB; ru_maxrss begins with that of the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

def model(x, y):
    slope, level = (pyro.sample(n, dist.Normal(0.0, 1.0)) for n in ("slope", "level"))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.StudentT(4.0, level + slope * x, scale), obs=y)

x = torch.randn(10_000)
joint = AutoLSEICNN(model).log_joint(x, x + torch.randn(10_000))
before = peak()
value, score = joint.value_and_gradient(torch.randn(4096, 3))
assert value.isfinite().all() and score.isfinite().all()
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is not there")
def test_much_data_need_little_memory():
    """Gradients at 4,096 draws of 10,000 data: below 1 GB, with all that is imported."""
    done = subprocess.run([sys.executable, "-c", MUCH], capture_output=True, text=True, check=True)
    before, peak = (int(n) / 2**10 for n in done.stdout.split())
    print(f"{before:.0f} MB before, {peak:.0f} MB at the peak")
    assert peak < 1000
