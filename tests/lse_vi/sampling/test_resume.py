"""Interrupted draws go on from their checkpoint, and a guide is left as it was."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import lse_vi.guides.fit as fit_module
from lse_vi import AutoLSEICNN, fit_guide, sample_smc
from lse_vi.fitting.steps import Steps

Y = torch.tensor(9.0)
FEW = {"draws": 80, "progress": False}


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 3.0))
    pyro.sample("y", dist.Normal(x**2, 1.0), obs=y)


def ring(y):
    """A ring, which no mode covers: draws take several stages."""
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    pyro.sample("y", dist.Normal(x.square().sum(-1), 0.5), obs=y)


def numbers(draws):
    return [*draws.samples["x"].flatten().tolist(), draws.log_evidence, draws.evaluations]


@pytest.fixture
def interrupt(monkeypatch):
    """Ctrl-C after so many files; None for no more."""
    kept, left = Steps._keep, [None]

    def keep(*args):
        kept(*args)
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "_keep", keep)
    return lambda after: left.__setitem__(0, after)


# After the search, the start, and a stage.
@pytest.mark.parametrize(
    ("after", "again"), [(1, "same guide"), (2, "new guide"), (4, "same guide"), (4, "new guide")]
)
def test_a_guide_without_modes(interrupt, tmp_path, after, again):
    """A guide with one mode for a ring."""

    def call(guide, **kwargs):
        return sample_smc(ring, guide, Y, draws=800, progress=False, **kwargs)

    expected = call(AutoLSEICNN(ring, modes=1, hidden=()))
    assert expected.stages > 2

    guide = AutoLSEICNN(ring, modes=1, hidden=())
    interrupt(after)
    with pytest.raises(KeyboardInterrupt):
        call(guide, checkpoint=tmp_path / "draws.pt")
    interrupt(None)
    if again == "new guide":
        guide = AutoLSEICNN(ring, modes=1, hidden=())
    draws = call(guide, checkpoint=tmp_path / "draws.pt")
    assert numbers(draws) == numbers(expected)
    assert guide.search is not None


def test_the_search_is_not_made_again(interrupt, tmp_path, monkeypatch):
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        fit_guide(model, AutoLSEICNN(model), Y, checkpoint=tmp_path / "fit.pt", progress=False)
    interrupt(None)
    expected = fit_guide(model, AutoLSEICNN(model), Y, progress=False)
    monkeypatch.setattr(fit_module, "find_peaks", lambda *_: pytest.fail("done before"))
    guide = AutoLSEICNN(model)
    res = fit_guide(model, guide, Y, checkpoint=tmp_path / "fit.pt", progress=False)
    assert res.log_evidence == expected.log_evidence
    draws = sample_smc(model, guide, Y, checkpoint=tmp_path / "draws.pt", **FEW)
    again = sample_smc(model, guide, Y, checkpoint=tmp_path / "draws.pt", **FEW)
    assert numbers(draws) == numbers(again)


def test_files_of_other_draws_are_refused(tmp_path):
    path = tmp_path / "draws.pt"

    def call(y=Y, modes=2, **kwargs):
        guide = AutoLSEICNN(model, modes=modes, hidden=())
        return sample_smc(model, guide, y, checkpoint=path, **FEW, **kwargs)

    call()
    with pytest.raises(ValueError, match=r"checkpoint: .* another fit \(different: data, model\)"):
        call(Y + 1)
    with pytest.raises(ValueError, match=r"another fit \(different: guide\)"):
        call(modes=1)
    with pytest.raises(ValueError, match=r"another fit \(different: settings"):
        call(islands=2)
    guide = AutoLSEICNN(model, modes=2, hidden=())
    guide.find_modes(Y)
    with pytest.raises(ValueError, match=r"another fit \(different: guide"):
        sample_smc(model, guide, Y, checkpoint=path, **FEW)
