"""The fit of a guide against truths: its modes, weights and evidence."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi.guides.fit
from lse_vi import AutoLSEICNN, fit_guide
from lse_vi.fitting.checkpoint import Checkpoint

PEAK = (9.0 - 1 / 18) ** 0.5  # of `square`, where x / 9 + 2 x (x^2 - 9) = 0


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_modes_weights_and_evidence(seed, square, nine, truth):
    guide = AutoLSEICNN(square, modes=2)
    # Gaussians alone come to an ESS on either side of the bound below (0.918 with other draws).
    strict = {"tolerance": 1e-3, "steps": 300, "progress": False}
    res = fit_guide(square, guide, nine, seed=seed, **strict)
    exact = truth.log_evidence
    assert res.mode_weights.tolist() == pytest.approx([0.75, 0.25], abs=0.02)
    assert res.mode_locations["x"].tolist() == pytest.approx([PEAK, -PEAK], abs=1e-3)
    assert abs(res.log_evidence - exact) < 4 * res.log_evidence_error
    assert res.log_evidence_error < 0.01
    assert exact - res.elbo < 0.02 + 4 * res.elbo_error
    assert res.ess > 0.95


def test_nothing_to_warn_of():
    """Two Gaussian modes, |x| seen with noise: the guide is exact, and knows it."""

    def model():
        x = pyro.sample("x", dist.Normal(0.0, 3.0))
        pyro.sample("y", dist.Normal(x.abs(), 0.3), obs=torch.tensor(4.0))

    res = fit_guide(model, AutoLSEICNN(model, modes=4), progress=False)
    exact = math.log(2.0) + float(dist.Normal(0.0, 9.09**0.5).log_prob(torch.tensor(4.0)))
    assert res.log_evidence == pytest.approx(exact, abs=1e-3)
    assert res.elbo == pytest.approx(exact, abs=2e-3)
    assert res.k_hat < 0.7
    assert res.warnings == ()


def test_the_result_prints(fitted):
    text = str(fitted)
    assert text.startswith("fit of AutoLSEICNN: 2 modes, 2 convex parts, 1 dimension\n")
    words = ("ELBO", "log evidence", "ESS", "k-hat", "weight 0.7", "  x 2.991", "  x -2.991")
    assert [word for word in words if word not in text] == []


def test_history(square, nine):
    strict = {"tolerance": 1e-6, "steps": 100, "progress": False}
    history = fit_guide(square, AutoLSEICNN(square, modes=2), nine, **strict).history
    assert set(history) == {"step", "elbo", "misfit"}
    assert history["step"] == [0, 20, 40, 60, 80]
    assert history["misfit"][-1] < history["misfit"][0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_training_where_gaussians_on_the_peaks_are_enough(square, nine, seed):
    """Their misfit is 0.005 nats, and 4,096 samples know it to a fifth."""
    few = {"progress": False, "seed": seed}
    res = fit_guide(square, AutoLSEICNN(square, modes=2), nine, tolerance=0.01, **few)
    assert res.history["step"] == [0]
    assert res.history["misfit"][0] < 0.01
    res = fit_guide(square, AutoLSEICNN(square, modes=2), nine, tolerance=0.001, steps=40, **few)
    assert res.history["step"] == [0, 20]


def test_training_that_loses_a_mode_is_not_kept(monkeypatch, square, nine):
    def lose(pot, log_joint, recipe, file):
        pot.network.add_offset_(torch.tensor([0.0, 50.0]))
        return {"step": [0], "elbo": [0.0], "misfit": [0.0]}

    monkeypatch.setattr(lse_vi.guides.fit, "train", lose)
    res = fit_guide(square, AutoLSEICNN(square, modes=2), nine, progress=False)
    assert res.mode_weights.tolist() == pytest.approx([0.75, 0.25], abs=0.02)


def test_points_know_their_mode(fitted):
    assert fitted.mode_of(torch.tensor([[3.0], [-3.0]])).tolist() == [0, 1]


def test_draws_of_sites_know_their_mode_too():
    """From any sampler, in the values that the model itself sees, with any leading shape."""

    def model():
        shape = pyro.sample("shape", dist.Dirichlet(torch.ones(3)))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        low, high = (dist.Normal(m, 0.1).log_prob(scale.log()) for m in (-1.0, 1.0))
        pyro.factor("f", torch.logaddexp(low + 1, high) + shape.log().sum(-1))

    res = fit_guide(model, AutoLSEICNN(model), progress=False)
    scale = torch.tensor([[0.4, 2.5, 3.0], [2.6, 0.3, 0.35]])
    shape = torch.full((2, 3, 3), 1 / 3)
    assert res.mode_of({"shape": shape, "scale": scale}).tolist() == [[0, 1, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"has a site 'scale', but got \['shape'\]"):
        res.mode_of({"shape": shape})
    with pytest.raises(ValueError, match=r"site 'shape' must have a shape that ends in \(3,\)"):
        res.mode_of({"shape": scale[:, :2], "scale": scale})


def test_one_seed_one_result_and_the_global_state_stays(square, nine):
    before = torch.get_rng_state()
    one, two = (
        fit_guide(square, AutoLSEICNN(square, modes=2), nine, steps=60, progress=False)
        for _ in "ab"
    )
    assert torch.equal(before, torch.get_rng_state())
    assert (one.elbo, one.log_evidence) == (two.elbo, two.log_evidence)
    for a, b in zip(one.guide.parameters(), two.guide.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_interrupted_fit_goes_on_where_it_was(tmp_path, monkeypatch, square, nine):
    strict = {"tolerance": 1e-6, "steps": 100, "progress": False}

    def run(path):
        guide = AutoLSEICNN(square, modes=2)
        return fit_guide(square, guide, nine, checkpoint=path, **strict)

    whole = run(tmp_path / "whole")
    saved, save = 0, Checkpoint.save

    def save_thrice(self, state):
        nonlocal saved
        saved += 1
        if saved == 4:
            raise KeyboardInterrupt
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", save_thrice)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    monkeypatch.undo()
    resumed = run(tmp_path / "cut")
    assert resumed.elbo == whole.elbo
    assert resumed.history == whole.history


def test_spare_modes_serve_peaks_that_are_not_gaussian():
    def bent():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.factor("bend", -2.0 * (x[..., 1] - x[..., 0] ** 2) ** 2)

    def straight():
        pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    modes = []
    for model in (bent, straight):
        guide = AutoLSEICNN(model, modes=4)
        guide.find_modes()
        modes.append(guide.potential.modes)
    assert modes == [4, 1]
