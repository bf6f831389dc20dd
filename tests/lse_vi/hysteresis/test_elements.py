"""A transition and the model that is made of it say the same."""

from itertools import pairwise

import pytest
import torch

from lse_vi.hysteresis.elements import Element, Units, build, corrected, phase_stress
from lse_vi.hysteresis.marks import elements_of, jacobian, marks
from lse_vi.hysteresis.starts import share_of
from lse_vi.hysteresis.training import put, vector

UNITS = Units(0.06, 700.0)
CHAIN = [Element(1, 0.2, 0.3, 0.11, (-0.8, 0.0)), Element(1, 0.6, 0.3, 0.09, (-0.9, 0.0))]
SIDES = [Element(-1, 0.3, 0.4, 0.1, (0.7, 0.0)), Element(1, 0.2, 0.6, 0.11, (-1.7, 0.0))]


@pytest.mark.parametrize("elements", [CHAIN[:1], CHAIN, SIDES], ids=["one", "chain", "sides"])
def test_a_model_follows_its_elements(elements):
    model, sides = build((0.02, 3.0), elements, UNITS)
    assert sides == tuple(t.side for t in elements)
    turns = torch.tensor([0.0, 1.0, 0.3, 0.8, -1.0, -0.4, 0.0])
    e = torch.cat([torch.linspace(0, 1, 50) * (b - a) + a for a, b in pairwise(turns)])
    state = model.march(model.prepare(UNITS.strain * e.reshape(1, -1, 1)))
    for j, t in enumerate(elements):
        parts = (torch.tensor([v]) for v in (t.start, t.width, t.lag))
        torch.testing.assert_close(
            state[:, 0, j], share_of(e.unsqueeze(-1), t.side, *parts)[:, 0, 0]
        )
    stress = (
        0.02 + 3.0 * e + sum(s * t.jump[0] for s, t in zip(state[:, 0].mT, elements, strict=True))
    )
    ours = model(UNITS.strain * e.unsqueeze(-1)).stress[:, 0] / UNITS.stress
    torch.testing.assert_close(ours, stress)


@pytest.mark.parametrize("elements", [CHAIN[:1], CHAIN, SIDES], ids=["one", "chain", "sides"])
def test_elements_come_back_from_their_model(elements):
    model, sides = build((0.02, 3.0), elements, UNITS)
    for ours, theirs in zip(elements_of(model, sides), elements, strict=True):
        assert ours.side == theirs.side
        assert ours[1:4] == pytest.approx(theirs[1:4], abs=1e-9)
        assert ours.jump == pytest.approx(theirs.jump, abs=1e-6)


def test_networks_begin_as_a_small_correction():
    model, _ = build((0.02, 3.0), CHAIN, UNITS)
    wide = corrected(model, (6,), seed=0)
    e = torch.linspace(-1, 1, 50)
    change = (phase_stress(wide, e) - phase_stress(model, e)).abs().max()
    assert 0 < float(change.detach()) < 0.2 * phase_stress(model, e).abs().max()
    assert torch.equal(wide.raw, model.raw)
    again = corrected(model, (6,), seed=0)
    assert torch.equal(vector(again), vector(wide))


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_derivatives_of_marks_are_differences(hidden):
    model, sides = build((0.02, 3.0), CHAIN, UNITS)
    model = corrected(model, hidden, seed=0) if hidden else model
    slopes, x, step = jacobian(model, sides), vector(model), 1e-6
    for i in range(len(x)):
        shift = torch.zeros_like(x)
        shift[i] = step
        values = []
        for y in (x + shift, x - shift):
            put(model, y)
            values.append(torch.stack(tuple(marks(model, sides))).detach())
        put(model, x)
        difference = (values[0] - values[1]) / (2 * step)
        scale = difference.abs().max().clamp_min(1.0)
        torch.testing.assert_close(slopes[..., i] / scale, difference / scale, atol=2e-5, rtol=1e-4)


def test_a_mark_that_lies_nowhere_is_not_a_number():
    model, sides = build((0.0, 3.0), [Element(1, 0.5, 90.0, 0.1, (-0.5, 0.0))], UNITS)
    found = marks(model, sides)
    assert found.strain_end.isnan().all()
    assert not found.strain_start.isnan().any()
