"""The same call ends in the same place: with a used guide, after Ctrl-C, from a pickle."""

import copy
import pickle

import cloudpickle
import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi
import lse_vi.guides.training as training

QUICK = {"steps": 60, "samples": 128, "tolerance": 1e-9, "progress": False}


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def fit(guide, y=4.0, **settings):
    return lse_vi.fit_guide(model, guide, torch.tensor(y), **{**QUICK, **settings})


def fresh():
    return lse_vi.AutoLSEICNN(model, modes=2, hidden=())


def state(guide):
    return torch.cat([p.detach().flatten() for p in guide.potential.parameters()])


def test_a_used_guide_ends_where_a_fresh_one_does():
    first, used = fresh(), fresh()
    used(torch.tensor(9.0))
    fit(used, 9.0, seed=5)
    fit(first)
    fit(used)
    assert torch.equal(state(first), state(used))


def test_after_ctrl_c_the_same_call_goes_on(tmp_path, monkeypatch):
    expected = fresh()
    fit(expected)
    draw, calls = training.Batch.draw, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args)

    guide = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(training.Batch, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(guide, checkpoint=tmp_path / "fit.pt")
    assert (tmp_path / "fit.pt").exists()
    fit(guide, checkpoint=tmp_path / "fit.pt")
    assert torch.equal(state(guide), state(expected))


def test_a_checkpoint_knows_what_the_model_reads(tmp_path):
    scale = [3.0]

    def closure(y):
        x = pyro.sample("x", dist.Normal(0.0, scale[0]))
        pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)

    def run():
        guide = lse_vi.AutoLSEICNN(closure, modes=2, hidden=())
        y = torch.tensor(4.0)
        return lse_vi.fit_guide(closure, guide, y, checkpoint=tmp_path / "fit.pt", **QUICK)

    before = run()
    assert run().elbo == before.elbo
    scale[0] = 4.0
    with pytest.raises(ValueError, match=r"belongs to another fit \(different: model\)"):
        run()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copy_of_a_guide_is_fitted_anew_and_the_guide_keeps_its_model(copied):
    guide = fresh()
    fit(guide)
    other = copied(guide)
    assert torch.equal(state(other), state(guide))
    for one in (other, guide):
        fit(one, seed=1)
    assert torch.equal(state(other), state(guide))
    draws = [
        lse_vi.sample_smc(model, one, torch.tensor(4.0), draws=40, progress=False).samples["x"]
        for one in (other, guide)
    ]
    assert torch.equal(*draws)


def test_a_result_travels(tmp_path):
    result = fit(fresh())
    torch.save(result, tmp_path / "result.pt")
    others = [
        torch.load(tmp_path / "result.pt", weights_only=False),
        pickle.loads(cloudpickle.dumps(result)),
        copy.deepcopy(result),
    ]
    for other in others:
        assert str(other) == str(result)
        assert torch.equal(other.mode_of(torch.ones(3, 1)), result.mode_of(torch.ones(3, 1)))


def test_a_log_joint_that_grows_without_bound_is_refused():
    def growing():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("f", x**4)

    guide = lse_vi.AutoLSEICNN(growing, modes=2, hidden=())
    with pytest.raises(ValueError, match="model: the log joint is unbounded"):
        lse_vi.fit_guide(growing, guide, **QUICK)
