"""Propensities count combinations; constructors refuse what cannot be a network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

from data_gen.gillespie import simulate
from data_gen.networks import CustomKinetics, MassAction, ReactionNetwork


@given(
    orders=st.lists(st.integers(0, 4), min_size=2, max_size=2),
    counts=st.lists(st.integers(0, 60), min_size=2, max_size=2),
    rate=st.floats(1e-6, 1e6),
)
def test_mass_action_counts_combinations(orders, counts, rate):
    network = ReactionNetwork(["A", "B"], [[0, 0]], MassAction([rate], [orders]))
    ways = comb(counts, orders, exact=False).prod()
    np.testing.assert_allclose(network.propensities(counts), [rate * ways], rtol=1e-13)


def test_propensities_keep_leading_axes():
    network = ReactionNetwork(["A", "B"], [[-1, 0], [0, 1]], MassAction([2, 3], [[1, 0], [0, 0]]))
    counts = np.arange(24).reshape(3, 4, 2)
    propensities = network.propensities(counts)
    assert propensities.shape == (3, 4, 2)
    np.testing.assert_array_equal(propensities[..., 0], 2.0 * counts[..., 0])
    np.testing.assert_array_equal(propensities[..., 1], 3.0)


def test_custom_kinetics_see_what_they_leave_unwritten():
    def lazy(counts, rates, out):
        out[0] = 1.0

    network = ReactionNetwork(["A"], [[1], [-1]], CustomKinetics([], lazy))
    assert np.isnan(network.propensities([3])[1])


def test_constructor_copies_and_freezes_its_arrays():
    changes = np.array([[1]])
    network = ReactionNetwork(["A"], changes, MassAction([1.0], [[0]]))
    changes[0, 0] = 7
    assert network.stoichiometry[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        network.stoichiometry[0, 0] = 2
    with pytest.raises(AttributeError):
        network.species = ("B",)


def test_repr_reads_as_chemistry():
    mass_action = ReactionNetwork(
        ["A", "B"], [[-1, -1], [2, 0]], MassAction([0.5, 3], [[1, 1], [0, 0]])
    )
    assert "0: A + B -> 0    rate 0.5" in repr(mass_action)
    assert "1: 0 -> 2 A    rate 3" in repr(mass_action)
    custom = ReactionNetwork(["A", "B"], [[-1, 2]], CustomKinetics([], lambda n, k, out: None))
    assert "0: A -1, B +2" in repr(custom)


@pytest.mark.parametrize(
    ("species", "stoichiometry", "rates", "orders", "message"),
    [
        ([], [[1]], [1], [[0]], "species must be at least one name"),
        (["A", "A"], [[1, 1]], [1], [[0, 0]], "species .* all distinct, but got .*'A', 'A'"),
        (["A"], [[1, 0]], [1], [[0, 0]], r"stoichiometry must have shape \(reactions, 1\)"),
        (["A"], np.zeros((0, 1)), [], np.zeros((0, 1)), "at least one reaction"),
        (["A"], [[0.5]], [1], [[0]], "stoichiometry must be whole numbers .* but got 0.5"),
        (["A"], [1], [1], [[0]], r"stoichiometry must be a matrix, but got shape \(1,\)"),
        (["A"], [[1]], [-1], [[0]], "rates must be non-negative, but got -1"),
        (["A"], [[1]], [np.nan], [[0]], "rates must be finite, but got nan"),
        (["A"], [[1]], [1, 2], [[0]], "one row per reaction, but got 2 rates"),
        (["A"], [[1]], [1], [[-1]], "orders must be non-negative, but got -1"),
        (["A"], [[1]], [1, 1], [[0], [0]], r"shape of stoichiometry, \(1, 1\), but got \(2, 1\)"),
        (["A"], [[-2]], [1], [[1]], "reaction 0 takes 2 A, but its order in A is only 1"),
    ],
)
def test_bad_values(species, stoichiometry, rates, orders, message):
    with pytest.raises(ValueError, match=message):
        ReactionNetwork(species, stoichiometry, MassAction(rates, orders))


def test_bad_types():
    kinetics = MassAction([1], [[0]])
    with pytest.raises(TypeError, match="species must be a sequence of names, but got 'A'"):
        ReactionNetwork("A", [[1]], kinetics)
    with pytest.raises(TypeError, match="kinetics must be MassAction or CustomKinetics"):
        ReactionNetwork(["A"], [[1]], "fast")
    with pytest.raises(TypeError, match="function must be callable, but got 3"):
        CustomKinetics([1.0], 3)
    with pytest.raises(TypeError, match="rates must be real numbers, but got 'k'"):
        MassAction("k", [[0]])


@pytest.mark.parametrize("counts", [3, [1, 2], np.zeros((4, 2))])
def test_counts_of_another_width(counts):
    network = ReactionNetwork(["A"], [[1]], MassAction([1], [[0]]))
    with pytest.raises(ValueError, match=r"counts must have shape \(\.\.\., 1\), but got"):
        network.propensities(counts)


def test_a_function_that_writes_outside_its_arrays_is_refused():
    """Compiled code checks no bounds: it would write into other memory."""

    def beyond(counts, rates, out):
        out[7] = rates[0]

    network = ReactionNetwork(["A"], [[1]], CustomKinetics([1.0], beyond))
    with pytest.raises(ValueError, match="function must stay inside its arrays of 1 counts"):
        simulate(network, 3, [1.0], 1)


def late(counts, rates, out):
    """Leaves its array from four copies on, after it has written all propensities."""
    out[0] = rates[0]
    if counts[0] > 3:
        out[int(counts[0]) + 10_000] = rates[0]


def late_reader(counts, rates, out):
    out[0] = rates[int(counts[0]) // 4]


@pytest.mark.parametrize("function", [late, late_reader])
def test_a_function_that_leaves_its_arrays_at_a_later_state_is_refused(function):
    network = ReactionNetwork(["A"], [[1]], CustomKinetics([1.0], function))
    with pytest.raises(ValueError, match="function must stay inside its arrays of 1 counts"):
        simulate(network, 0, [50.0], 3)
    assert simulate(network, 0, [1e-9], 3).tolist() == [[[0]]] * 3


def test_orders_that_no_reaction_has():
    with pytest.raises(ValueError, match="orders must be at most 100 copies"):
        MassAction([1.0], [[2**40]])
