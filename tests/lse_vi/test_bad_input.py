"""Bad input: an error that names the argument, what was expected, and what came."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from lse_vi import (
    ICNN,
    LSEICNN,
    Envelope,
    LaplaceMixture,
    LSEDensity,
    MomentMixture,
    Quadrature,
    WhitenedICNN,
    stationary_points,
)


@pytest.fixture
def plain():
    return LSEICNN(2, 3)


@pytest.fixture
def whitened():
    return LSEICNN(2, 3, network=WhitenedICNN)


# -- building a potential -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, but got 0"),
        ({"modes": 0}, "modes must be at least 1, but got 0"),
        ({"modes": -3}, "modes must be at least 1, but got -3"),
        ({"hidden": (4, 0)}, "hidden must be at least 1, but got 0"),
        ({"batch_shape": (2, 0)}, "batch_shape must be at least 1, but got 0"),
        ({"rho": 0.0}, r"rho must be a positive number, but got 0\.0"),
        ({"rho": -1.0}, r"rho must be a positive number, but got -1\.0"),
        ({"rho": math.nan}, "rho must be a positive number, but got nan"),
        ({"rho": math.inf}, "rho must be a positive number, but got inf"),
        ({"gate": 0.0}, r"gate must be in \(0, 1\), but got 0\.0"),
        ({"gate": 1.0}, r"gate must be in \(0, 1\), but got 1\.0"),
        ({"gate": math.nan}, r"gate must be in \(0, 1\), but got nan"),
    ],
)
@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_potential_of_wrong_values(network, options, message):
    with pytest.raises(ValueError, match=message):
        LSEICNN(**({"dim": 2, "modes": 3, "network": network} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 2.0}, r"dim must be an integer, but got 2\.0"),
        ({"modes": 2.5}, r"modes must be an integer, but got 2\.5"),
        ({"modes": "3"}, "modes must be an integer, but got '3'"),
        ({"modes": True}, "modes must be an integer, but got True"),
        ({"modes": None}, "modes must be an integer, but got None"),
        ({"hidden": (4.5,)}, r"hidden must be an integer, but got 4\.5"),
        ({"hidden": 10}, r"hidden must be a sequence of integers, but got 10"),
        ({"batch_shape": 4}, r"batch_shape must be a sequence of integers, but got 4"),
        ({"batch_shape": (2.0,)}, r"batch_shape must be an integer, but got 2\.0"),
        ({"rho": "2"}, "rho must be a number, but got '2'"),
        ({"gate": None}, "gate must be a number, but got None"),
        ({"network": "ICNN"}, "network must be ICNN or WhitenedICNN, a class, but got 'ICNN'"),
        ({"network": LSEICNN}, "network must be ICNN or WhitenedICNN, a class, but got <class"),
    ],
)
def test_potential_of_wrong_types(options, message):
    with pytest.raises(TypeError, match=message):
        LSEICNN(**({"dim": 2, "modes": 3} | options))


def test_numpy_numbers_are_numbers():
    pot = LSEICNN(np.int64(2), np.int32(3), hidden=np.array([4, 5]), rho=np.float32(1.0))
    assert pot(torch.zeros(2)).shape == ()


# -- points ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "__call__",
        "gradient",
        "hessian",
        "energy_and_gradient",
        "responsibilities",
        "mode_potentials",
        "minima",
        "active_modes",
    ],
)
@pytest.mark.parametrize("shape", [(5, 3), (5, 1), (2, 5), ()])
def test_points_of_the_wrong_dimension(plain, method, shape):
    message = rf"must have last dimension 2 .*got shape \({', '.join(map(str, shape))}"
    with pytest.raises(ValueError, match=message):
        getattr(plain, method)(torch.zeros(shape))


def test_points_of_another_batch():
    pot = LSEICNN(2, 3, batch_shape=(4,))
    with pytest.raises(ValueError, match=r"x .*\(7, 3, 2\).* batch_shape \(4,\)"):
        pot(torch.zeros(7, 3, 2))


@pytest.mark.parametrize("method", ["__call__", "gradient", "hessian", "responsibilities"])
def test_points_of_another_kind(plain, method):
    with pytest.raises(TypeError, match="x must be a tensor, but got ndarray"):
        getattr(plain, method)(np.zeros((5, 2)))
    with pytest.raises(TypeError, match=r"x must be of dtype torch\.float64.*torch\.float32"):
        getattr(plain, method)(torch.zeros(5, 2, dtype=torch.float32))


def test_starts_of_a_search(plain):
    with pytest.raises(ValueError, match=r"starts must be finite, but 1 of its 10 entries"):
        plain.minima(torch.tensor([[math.nan, 0.0]] + 4 * [[0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"starts must hold at least two different points .*\[\[1"):
        plain.minima(torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"starts must hold at least two different points"):
        plain.minima(torch.zeros(2))
    with pytest.raises(ValueError, match=r"starts must hold at least two different points"):
        plain.minima(torch.zeros(0, 2))
    for search in (plain.minima, partial(stationary_points, plain)):
        with pytest.raises(ValueError, match=r"separation must be a positive number, but got -1"):
            search(torch.randn(10, 2), separation=-1)


def test_minima_of_a_batch():
    pot = LSEICNN(2, 3, batch_shape=(4, 5))
    with pytest.raises(ValueError, match=r"single potential, but batch_shape is \(4, 5\); use pot"):
        pot.minima(torch.randn(10, 2))


# -- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keep",
    [
        torch.tensor([True, False]),
        torch.tensor([[True, False, True]]),
        torch.tensor([False, False, False]),
        torch.tensor([1, 0, 1]),
        torch.tensor([0, 2]),
        [0, 2],
    ],
    ids=str,
)
def test_mask_of_modes_to_keep(plain, keep):
    with pytest.raises(ValueError, match=r"keep must be a boolean mask of shape \(3,\) .* but got"):
        plain.prune(keep)


def test_mask_that_empties_one_of_a_batch():
    keep = torch.tensor([[True, True, True], [False, False, False]])
    with pytest.raises(ValueError, match=r"shape \(2, 3\) with at least one mode kept"):
        LSEICNN(2, 3, batch_shape=(2,)).prune(keep)


def test_parameters_by_other_names(plain):
    with pytest.raises(ValueError, match=r"no parameter is named \['beta', 'network\.loc'\]"):
        plain.with_parameters({"beta": torch.ones(3), "network.loc": torch.ones(3, 2)})


@pytest.mark.parametrize("shape", [(), (2,), (3, 4)])
def test_parameters_of_another_shape(plain, shape):
    with pytest.raises(ValueError, match=r"alpha must have a shape that ends in \(3,\), but got"):
        plain.with_parameters({"alpha": torch.ones(shape)})


# -- building a density ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((1.0, -1.0), r"low < high in every coordinate, but got low=.*1\.0.*high=.*-1\.0"),
        ((0.0, 0.0), "low < high in every coordinate"),
        (([0.0, 0.0], [1.0, -1.0]), "low < high in every coordinate"),
        (([0.0, 0.0, 0.0], 1.0), r"a number or 2 numbers each .*but got shapes \(3,\) and \(\)"),
        (
            (torch.zeros(1, 2), 1.0),
            r"a number or 2 numbers each .*but got shapes \(1, 2\) and \(\)",
        ),
        ((-math.inf, None), "bounds must have a finite side"),
        ((0.0, math.nan), "bounds must be numbers, or None for an open side"),
        (3.0, r"bounds must be a pair \(low, high\), .* but got 3\.0"),
        ((0.0, 1.0, 2.0), r"bounds must be a pair \(low, high\), .* but got \(0\.0, 1\.0, 2\.0\)"),
        (("a", "b"), r"bounds must be a pair \(low, high\), .* but got \('a', 'b'\)"),
        ((0.0, [1.0, [2.0]]), r"bounds must be a pair \(low, high\)"),
    ],
    ids=str,
)
def test_bounds(plain, whitened, bounds, message):
    for pot in (plain, whitened):
        with pytest.raises(ValueError, match=message):
            LSEDensity(pot, bounds)


def test_plain_modes_need_bounds(plain):
    with pytest.raises(
        ValueError, match=r"bounds: plain ICNN modes .* or build the potential with"
    ):
        LSEDensity(plain)


def test_plain_modes_need_few_dimensions():
    pot = LSEICNN(3, 2)
    with pytest.raises(ValueError, match=r"exact in 1 or 2 dimensions, but this potential has 3"):
        LSEDensity(pot, (-1.0, 1.0))


@pytest.mark.parametrize(
    "potential", [None, torch.nn.Linear(2, 1), ICNN(2, 3)], ids=lambda p: str(type(p).__name__)
)
def test_a_density_is_of_a_potential(potential):
    with pytest.raises(TypeError, match="potential must be an LSEICNN, but got"):
        LSEDensity(potential, (-1.0, 1.0))


@pytest.mark.parametrize("method", ["quadrature", Quadrature, 0], ids=str)
def test_a_method_is_an_object(whitened, method):
    with pytest.raises(
        TypeError, match=r"method must be an object such as Quadrature\(\).*but got"
    ):
        LSEDensity(whitened, method=method)


@pytest.mark.parametrize("threshold", [7, 1.0, -0.1])
def test_a_threshold_is_a_share(plain, threshold):
    with pytest.raises(ValueError, match=rf"threshold must be in \[0, 1\), but got {threshold}"):
        plain.active_modes(torch.randn(10, 2), threshold=threshold)


def test_quadrature_in_three_dimensions():
    pot = LSEICNN(3, 2, network=WhitenedICNN)
    with pytest.raises(
        ValueError, match=r"1 or 2 dimensions, but the potential has 3; use Laplace"
    ):
        LSEDensity(pot, method=Quadrature()).rule  # noqa: B018


def test_laplace_mixture_of_plain_modes(plain):
    for method in (LaplaceMixture(), MomentMixture()):
        message = rf"{type(method).__name__} is for WhitenedICNN .*; use Quadrature"
        with pytest.raises(ValueError, match=message):
            LSEDensity(plain, (-1.0, 1.0), method=method).rule  # noqa: B018


@pytest.mark.parametrize("method", [LaplaceMixture(), MomentMixture()])
@pytest.mark.parametrize("low", [20.0, 100.0])
def test_a_box_beside_the_modes(method, low):
    pot = LSEICNN(3, 2, network=WhitenedICNN)
    message = r"bounds: none of \d+ draws from the modes fell inside.*Use method=Envelope\(\)"
    with pytest.raises(ValueError, match=message):
        LSEDensity(pot, (low, low + 1), method=method).rule  # noqa: B018


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (Quadrature, {"tolerance": 0.0}, r"tolerance must be a positive number, but got 0\.0"),
        (Quadrature, {"panels": 0}, "panels must be at least 1, but got 0"),
        (Quadrature, {"max_nodes": 0}, "max_nodes must be at least 1, but got 0"),
        (Quadrature, {"nodes": 1}, "nodes must be at least 2, but got 1"),
        (Envelope, {"samples": 1}, "samples must be at least 2, but got 1"),
        (LaplaceMixture, {"samples": 1}, "samples must be at least 2, but got 1"),
        (LaplaceMixture, {"defensive": 0.0}, r"defensive must be .* but got 0\.0"),
        (LaplaceMixture, {"defensive": 1.0}, r"defensive must be in .* but got 1\.0"),
    ],
)
def test_methods(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(**options)


def test_values_of_the_wrong_dimension(whitened):
    q = LSEDensity(whitened)
    with pytest.raises(ValueError, match=r"value must have shape .* but got \(5, 3\)"):
        q.log_prob(torch.zeros(5, 3))
