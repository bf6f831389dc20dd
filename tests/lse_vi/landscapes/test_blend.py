"""A landscape that turns into another."""

import math

import pytest
import torch

from lse_vi import Blend, gradient_flow, stationary_points


def test_blend_passes_from_one_landscape_to_the_other(polynomial, grid):
    first, second = polynomial(0.0), polynomial(4.0)
    blend = Blend(first, second, weight=lambda t: 1 - math.exp(-t))
    torch.testing.assert_close(blend.at(0.0)(grid), first(grid))
    torch.testing.assert_close(blend.at(50.0).gradient(grid), second.gradient(grid))
    torch.testing.assert_close(blend.at(0.5).hessian(grid), first.hessian(grid))
    kinds = [stationary_points(blend.at(t), grid).kinds for t in (0.0, 5.0)]
    assert [len(kind) for kind in kinds] == [3, 1]  # a tilt above 1.54 leaves one well
    path = gradient_flow(blend, torch.tensor([[1.0, 0.5]]), [0.0, 1.0, 8.0])
    assert path[1, 0, 0] > -0.5
    assert path[2, 0, 0] < -1.0


def test_landscapes_of_two_dimensions_are_refused(polynomial):
    other = polynomial()
    other.dim = 3
    with pytest.raises(ValueError, match="same dimension"):
        Blend(polynomial(), other, weight=float)
