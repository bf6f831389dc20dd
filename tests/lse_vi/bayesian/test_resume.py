"""Interrupted posteriors go on from their checkpoint, and end where they would have ended."""

import pytest
import torch

from lse_vi import count_modes, fit_posterior, sample_posterior
from lse_vi.bayesian import fit as fit_module
from lse_vi.fitting.steps import Steps

X = torch.cat([torch.linspace(-3, -2, 30), torch.linspace(1, 3, 30)]).double()
QUIET = {"progress": False}


class Interrupting:
    """Writes as usual; after so many files comes Ctrl-C."""

    def __init__(self, monkeypatch):
        self.left, self.kept = None, Steps._keep
        monkeypatch.setattr(Steps, "_keep", lambda *args: self(*args))

    def __call__(self, *args):
        self.kept(*args)
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture
def interrupting(monkeypatch):
    return Interrupting(monkeypatch)


def resumed(interrupting, call, path, after):
    """What ``call`` gives when it was interrupted after so many files."""
    interrupting.left = after
    with pytest.raises(KeyboardInterrupt):
        call(path)
    interrupting.left = None
    return call(path)


def numbers(posterior):
    return [*posterior.theta.flatten().tolist(), *(posterior.evidence or ())]


FULL, OWN = {"guide": "full"}, {"guide": "full", "annealed": False}
MULTIMODAL = pytest.param({"guide": "lse_icnn", "annealed": False}, marks=pytest.mark.slow)


@pytest.mark.parametrize("kwargs", [{}, FULL, OWN, MULTIMODAL])
def test_posteriors(interrupting, tmp_path, kwargs):
    few = {"modes": 1, "hidden": (), "steps": 20, "draws": 60, **QUIET, **kwargs}

    def call(path):
        return numbers(fit_posterior(X, checkpoint=path, **few))

    expected = call(None)
    for after in (1, 4, 5):  # the last one in the midst of the annealing
        assert resumed(interrupting, call, tmp_path / f"{after}.pt", after) == expected


def test_counts_keep_each_posterior(interrupting, tmp_path, monkeypatch):
    few = {"modes": 2, "hidden": (), "draws": 60, "guide": "laplace", **QUIET}

    def call(path):
        count = count_modes(X, checkpoint=path, **few)
        return [v for posterior in count.posteriors.values() for v in numbers(posterior)]

    expected = call(None)
    assert resumed(interrupting, call, tmp_path / "a.pt", 2) == expected
    monkeypatch.setattr(fit_module, "find_mode", lambda *_, **__: pytest.fail("done before"))
    monkeypatch.setattr(fit_module, "anneal", lambda *_, **__: pytest.fail("done before"))
    assert call(tmp_path / "a.pt") == expected


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_chains(interrupting, tmp_path, processes):
    fit = fit_posterior(X, modes=1, hidden=(), guide="laplace", draws=50, **QUIET)

    def call(path, **kwargs):
        few = {"chains": 3, "draws": 6, "warmup": 4, "processes": processes, **kwargs}
        return sample_posterior(fit, checkpoint=path, **few, **QUIET).theta.tolist()

    expected = call(None)
    assert resumed(interrupting, call, tmp_path / "a.pt", 2) == expected
    with pytest.raises(ValueError, match=r"another fit \(different: settings\)"):
        call(tmp_path / "a.pt", seed=1)


@pytest.mark.parametrize("fit", [fit_posterior, count_modes])
def test_files_of_another_fit_are_refused(tmp_path, fit):
    path = tmp_path / "fit.pt"
    few = {"modes": 1, "hidden": (), "guide": "laplace", "draws": 20, **QUIET}
    fit(X, checkpoint=path, **few)
    with pytest.raises(ValueError, match=r"checkpoint: .* another fit \(different: x\)"):
        fit(X + 1e-12, checkpoint=path, **few)
    with pytest.raises(ValueError, match=r"checkpoint: .* another fit \(different: x\)"):
        fit(X, weights=[1] * 59 + [2], checkpoint=path, **few)
    for other in ({"modes": 2}, {"hidden": (1,)}, {"guide": "full"}, {"draws": 21}, {"seed": 1}):
        with pytest.raises(ValueError, match=r"another fit \(different: settings\)"):
            fit(X, checkpoint=path, **few | other)


def test_the_folder_is_asked_for_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "find_mode", lambda *_, **__: pytest.fail("work"))
    for fit in (fit_posterior, count_modes):
        with pytest.raises(ValueError, match="checkpoint must be the path"):
            fit(X, checkpoint=tmp_path / "none" / "fit.pt", **QUIET)
