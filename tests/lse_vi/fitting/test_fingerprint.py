"""Content is told from other content."""

import numpy as np
import pytest
import torch

from lse_vi import LSEICNN, Isotropic, LevenbergMarquardt, Memory
from lse_vi.distribution import Box
from lse_vi.fitting.fingerprint import digest
from lse_vi.materials import Euler, EvenSteps, Heun, Rate


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_one_bit_of_a_long_array_counts(kind):
    x = np.arange(5000.0)
    y = x.copy()
    y[2500] = np.nextafter(y[2500], 0.0)
    assert digest([kind(x)]) == digest([kind(x.copy())]) != digest([kind(y)])


def test_shape_type_and_order_count():
    x = torch.zeros(6)
    forms = [
        [x], [x.reshape(2, 3)], [x.float()], [x.long()], [x.numpy()], [x, 1], [1, x],
        [x[:3], x[3:]],
    ]  # fmt: skip
    assert len({digest(form) for form in forms}) == len(forms)
    one = torch.ones(()).expand(1)  # of stride 0
    assert digest([one]) == digest([torch.ones(1)])
    assert digest([torch.arange(6.0)[::2]]) == digest([torch.tensor([0.0, 2.0, 4.0])])
    assert len({digest([v]) for v in (1, 1.0, True, "1", b"1", None, torch.tensor(1))}) == 7


@pytest.mark.parametrize(
    "x",
    [object(), np.array([object()]), lambda: 1, [1.0, {"key": (object(),)}]],
    ids=["object", "array", "lambda", "inside"],
)
def test_what_has_no_content_to_tell_is_refused(x):
    with pytest.raises(ValueError, match=r"an argument of type .* cannot be told"):
        digest([x])


class Stepper:
    def __init__(self, order):
        self.order = order


def memory(stepper, **settings):
    torch.manual_seed(0)
    rate = Rate(9, 2, hidden=(4,))
    return Memory(LSEICNN(5, 2, hidden=(3,)), Isotropic(), rate, stepper=stepper, **settings)


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: Stepper(1), Stepper(2)),
        (lambda: {"a": [1.0, (2, None)]}, {"a": [1.0, (3, None)]}),
        (
            lambda: Box.of((-1 / 3, 1.0), 1, torch.zeros(1)),
            Box.of((-0.33333, 1.0), 1, torch.ones(1)),
        ),
        (lambda: LevenbergMarquardt(steps=5), LevenbergMarquardt(steps=6)),
        (lambda: torch.tanh, torch.sigmoid),
        (lambda: memory(Euler()), memory(Heun())),
        (lambda: memory(Euler(), steps=EvenSteps(0.1)), memory(Euler(), steps=EvenSteps(0.1001))),
        (lambda: memory(Euler(), stress_unit=2.0), memory(Euler(), stress_unit=3.0)),
    ],
    ids=["object", "containers", "bounds", "solver", "function", "stepper", "grid", "unit"],
)
def test_objects_count_by_their_content(make, other):
    """Neither an address nor the rounding of repr decides: equal is equal, other is other."""
    assert digest([make()]) == digest([make()]) != digest([other])


def test_a_container_that_holds_itself_comes_to_an_end():
    ring = [1.0]
    ring.append(ring)
    assert digest([ring]) != digest([[1.0]])


def test_what_is_frozen_counts():
    pot = LSEICNN(1, 2)
    before = digest([pot])
    pot.log_rho.requires_grad_(False)
    assert digest([pot]) != before


def test_numbers_count_past_the_digits_that_are_shown():
    """As the bounds of a fit, which are tensors."""
    low = torch.tensor([1 / 3], dtype=torch.float64)
    near = torch.nextafter(low, torch.ones_like(low))
    assert repr(low) == repr(near)
    assert digest([low]) != digest([near])
