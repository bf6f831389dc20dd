"""The exact laws: against dense matrix exponentials, closed forms, and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import poisson

from data_gen.master_equation import birth_death_rates, stationary_law, transient_law
from data_gen.networks import CustomKinetics, MassAction, ReactionNetwork


def immigration_death(birth=8.0, death=1.0):
    """Poisson at all times when it starts from zero."""
    return ReactionNetwork(["X"], [[1], [-1]], MassAction([birth, death], [[0], [1]]))


def four_reactions(k):
    """Births and deaths of orders 0..3, so that n_max is felt."""
    return ReactionNetwork(["X"], [[1], [-1], [1], [-1]], MassAction(k, [[2], [3], [0], [1]]))


def generator(network, n_max):
    """Dense A with dp/dt = A p on 0..n_max; what is born beyond n_max leaves."""
    birth, death = birth_death_rates(network, n_max)
    return np.diag(birth[:-1], -1) + np.diag(death[1:], 1) - np.diag(birth + death)


@settings(deadline=None, max_examples=30)
@given(
    k=st.tuples(*[st.floats(0.01, 3.0)] * 4),
    x0=st.integers(0, 40),
    time=st.floats(0.0, 3.0),
)
def test_transient_law_is_the_matrix_exponential(k, x0, time):
    network = four_reactions(k)
    law = transient_law(network, x0, [time], n_max=40, tolerance=1.0)[0]
    start = np.eye(41)[x0]
    np.testing.assert_allclose(law, expm(time * generator(network, 40)) @ start, atol=2e-12)


def test_tails_are_accurate_too():
    """Relative accuracy far below machine epsilon, where a matrix exponential has only noise."""
    law = transient_law(immigration_death(), 0, [2.0], n_max=100)[0]
    exact = poisson(8.0 * (1 - np.exp(-2.0))).pmf(np.arange(81))
    assert exact[-1] < 1e-50
    np.testing.assert_allclose(law[:81], exact, rtol=1e-11)


def test_law_from_zero_is_poisson_at_all_times_in_any_order():
    times = np.array([3.0, 0.0, 0.2, 3.0, 1e-9])
    laws = transient_law(immigration_death(), 0, times, n_max=60)
    exact = poisson(8.0 * (1 - np.exp(-times))[:, None]).pmf(np.arange(61))
    np.testing.assert_allclose(laws, exact, atol=1e-14)


def test_mass_is_conserved_and_never_negative():
    laws = transient_law(immigration_death(), 30, np.linspace(0, 20, 41), n_max=90)
    np.testing.assert_allclose(laws.sum(axis=1), 1.0, atol=1e-12)
    assert (laws >= 0).all()


def test_lost_mass_bounds_the_truncation_error():
    network = immigration_death()
    exact = transient_law(network, 0, [1.0], n_max=60)[0]
    cut = transient_law(network, 0, [1.0], n_max=9, tolerance=0.5)[0]
    lost = 1 - cut.sum()
    assert 1e-3 < lost < 0.1
    assert (cut <= exact[:10]).all()
    assert (exact[:10] - cut).sum() <= lost


def test_stationary_law_is_the_limit_and_is_balanced():
    network = four_reactions([0.01, 0.001, 5.0, 1.0])
    pi = stationary_law(network, n_max=300)
    birth, death = birth_death_rates(network, 300)
    np.testing.assert_allclose(pi[1:] * death[1:], pi[:-1] * birth[:-1], rtol=1e-9, atol=1e-300)
    assert pi.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(
        transient_law(network, 3, [200.0], n_max=300)[0], pi, atol=1e-11, rtol=0
    )


def test_stationary_law_of_immigration_death_is_poisson():
    pi = stationary_law(immigration_death(), n_max=60)
    np.testing.assert_allclose(pi, poisson(8.0).pmf(np.arange(61)), rtol=1e-12)


def test_frozen_network_stays_where_it_is():
    idle = ReactionNetwork(["X"], [[1]], MassAction([0.0], [[0]]))
    np.testing.assert_array_equal(transient_law(idle, 2, [5.0], n_max=4), [[0, 0, 1, 0, 0]])


def test_truncation_is_reported():
    with pytest.raises(ValueError, match=r"n_max=12 is too small: probability .* raise n_max"):
        transient_law(immigration_death(), 0, [1.0], n_max=12)
    with pytest.raises(ValueError, match=r"n_max=12 is too small: it holds .* raise n_max"):
        stationary_law(immigration_death(), n_max=12)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("x0", -1, "x0 must be at least 0, but got -1"),
        ("x0", 61, r"x0 must lie in 0\.\.n_max=60, but got 61"),
        ("times", [1.0, -2.0], "times must be non-negative, but got -2.0"),
        ("times", [np.nan], "times must be finite, but got nan"),
        ("times", 1.0, r"times must be a vector, but got shape \(\)"),
        ("n_max", 0, "n_max must be at least 1, but got 0"),
        ("tolerance", 0.0, "tolerance must be positive, but got 0.0"),
        ("tolerance", np.nan, "tolerance must be finite, but got nan"),
    ],
)
def test_bad_values(argument, value, message):
    arguments = {"x0": 0, "times": [1.0], "n_max": 60, argument: value}
    with pytest.raises(ValueError, match=message):
        transient_law(immigration_death(), **arguments)


def two_species():
    return ReactionNetwork(["A", "B"], [[1, 0]], MassAction([1], [[0, 0]]))


def pairs():
    return ReactionNetwork(["A"], [[-2]], MassAction([1], [[2]]))


def negative_rate():
    def falling(counts, rates, out):
        out[0] = 5.0 - counts[0]

    return ReactionNetwork(["A"], [[1]], CustomKinetics([], falling))


def death_at_zero():
    def constant(counts, rates, out):
        out[0] = 1.0

    return ReactionNetwork(["A"], [[-1]], CustomKinetics([], constant))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (two_species(), r"one species that every reaction changes by \+1 or -1"),
        (pairs(), r"by \+1 or -1, but got species \('A',\) and stoichiometry \[\[-2\]\]"),
        (negative_rate(), "that of reaction 0 at count 6 is -1.0"),
        (death_at_zero(), "must not lose copies at count 0, but its rate is 1.0"),
    ],
)
def test_networks_of_another_kind(network, message):
    with pytest.raises(ValueError, match=message):
        transient_law(network, 0, [1.0], n_max=10)


def test_stationary_law_needs_both_directions():
    decay = ReactionNetwork(["A"], [[-1]], MassAction([2], [[1]]))
    with pytest.raises(ValueError, match="between 0 and 1 the birth rate is 0 and the death rate"):
        stationary_law(decay, n_max=10)


def test_bad_types():
    with pytest.raises(TypeError, match="network must be a ReactionNetwork, but got 'X'"):
        stationary_law("X", n_max=10)
    with pytest.raises(TypeError, match=r"x0 must be an integer, but got 1\.5"):
        transient_law(immigration_death(), 1.5, [1.0], n_max=10)
