"""Simulated counts follow their exact laws.

Seeds are fixed, so a test that passes keeps passing; the thresholds are such that a right simulator
would fail a fresh seed less than once in a thousand runs of this file.
"""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import chisquare, poisson

from data_gen import master_equation, schlogl
from data_gen.gillespie import simulate
from data_gen.networks import CustomKinetics, MassAction, ReactionNetwork

P_VALUE = 1e-5


def chi_square_p_value(counts, law, expected=25.0):
    """p-value of whole-number samples against probabilities of 0, 1, 2, ....

    Neighbouring counts share a bin until at least `expected` samples are due in it, enough for the
    chi-square law; the last bin takes everything above.
    """
    due = len(counts) * np.append(law, max(0.0, 1.0 - law.sum()))
    seen = np.bincount(np.minimum(counts, len(law)), minlength=len(due))
    starts, filled = [0], 0.0
    for n, amount in enumerate(due):
        if filled >= expected and due[n:].sum() >= expected:
            starts.append(n)
            filled = 0.0
        filled += amount
    due, seen = np.add.reduceat(due, starts), np.add.reduceat(seen, starts)
    return chisquare(seen, due * seen.sum() / due.sum()).pvalue


def assert_schlogl_law(times, seed, n=20_000):
    counts = simulate(schlogl.network(), schlogl.X0, times, n, seed)[..., 0]
    p_values = [
        chi_square_p_value(c, law) for c, law in zip(counts.T, schlogl.law(times), strict=True)
    ]
    assert min(p_values) > P_VALUE, p_values


@pytest.mark.parametrize("seed", [1, 2])
def test_schlogl_follows_its_master_equation(seed):
    assert_schlogl_law([0.25, 0.5, 1.0], seed)


def test_schlogl_follows_its_master_equation_when_bimodal():
    assert_schlogl_law([1.5, 2.0, 2.5], seed=3)


@pytest.mark.slow
def test_schlogl_follows_its_master_equation_to_the_end():
    assert_schlogl_law([1.0, 4.0, 10.0], seed=4)


def test_the_chi_square_test_has_teeth():
    """A rate that is 1% off is seen, so agreement means something."""
    law = schlogl.law(0.25)
    wrong = ReactionNetwork(
        ["X"],
        [[1], [-1], [1], [-1]],
        MassAction([0.03, 1e-4, 200.0, 3.5 * 1.01], [[2], [3], [0], [1]]),
    )
    counts = simulate(wrong, schlogl.X0, [0.25], 20_000, seed=1)[:, 0, 0]
    assert chi_square_p_value(counts, law) < P_VALUE


def test_immigration_and_death_is_poisson():
    network = ReactionNetwork(["X"], [[1], [-1]], MassAction([12.0, 0.8], [[0], [1]]))
    times = np.array([0.5, 1.0, 6.0])
    counts = simulate(network, 0, times, 20_000, seed=6)[..., 0]
    means = 12.0 / 0.8 * (1 - np.exp(-0.8 * times))
    for c, mean in zip(counts.T, means, strict=True):
        assert chi_square_p_value(c, poisson(mean).pmf(np.arange(80))) > P_VALUE


def test_custom_kinetics_follow_their_master_equation():
    """A protein that represses its own gene: no mass-action law."""

    def repressed(counts, rates, out):
        out[0] = rates[0] / (1.0 + (counts[0] / rates[1]) ** 2)
        out[1] = counts[0]

    network = ReactionNetwork(["P"], [[1], [-1]], CustomKinetics([40.0, 6.0], repressed))
    times = [0.2, 0.8, 3.0]
    counts = simulate(network, 5, times, 20_000, seed=7)[..., 0]
    laws = master_equation.transient_law(network, 5, times, n_max=100)
    for c, law in zip(counts.T, laws, strict=True):
        assert chi_square_p_value(c, law) > P_VALUE


def test_gene_expression_has_its_exact_means_and_noise():
    """mRNA M made at k, lost at g; protein P made at a per M, lost at d (Thattai 2001).

    Means solve a linear equation; the stationary Fano factor of P is 1 + a / (g + d).
    """
    k, g, a, d = 4.0, 1.0, 3.0, 0.5
    network = ReactionNetwork(
        ["M", "P"],
        [[1, 0], [-1, 0], [0, 1], [0, -1]],
        MassAction([k, g, a, d], [[0, 0], [1, 0], [1, 0], [0, 1]]),
    )
    times, n = np.array([0.3, 1.0, 30.0]), 20_000
    counts = simulate(network, [2, 10], times, n, seed=9)
    flow = np.array([[-g, 0.0, k], [a, -d, 0.0], [0.0, 0.0, 0.0]])
    exact = np.array([expm(flow * t)[:2] @ [2, 10, 1] for t in times])
    z = (counts.mean(axis=0) - exact) / (counts.std(axis=0, ddof=1) / np.sqrt(n))
    assert np.abs(z).max() < 4.5

    protein = counts[:, -1, 1]
    fano = protein.var(ddof=1) / protein.mean()
    assert fano == pytest.approx(1 + a / (g + d), rel=5 * np.sqrt(2 / n))  # five standard errors


def test_a_chain_of_twenty_reactions_is_poisson_in_every_species():
    """First-order reactions from an empty start: independent Poisson counts at all times."""
    species, inflow, onward, back, out = 10, 30.0, 1.0, 0.5, 1.0
    unit = np.eye(species, dtype=int)
    orders, changes, rates = [0 * unit[0]], [unit[0]], [inflow]
    for i in range(species - 1):
        orders += [unit[i], unit[i + 1]]
        changes += [unit[i + 1] - unit[i], unit[i] - unit[i + 1]]
        rates += [onward, back]
    orders.append(unit[-1])
    changes.append(-unit[-1])
    rates.append(out)
    network = ReactionNetwork([f"S{i}" for i in range(species)], changes, MassAction(rates, orders))
    assert network.reactions == 20

    flow = np.zeros((species + 1, species + 1))
    flow[0, -1] = inflow
    for order, change, rate in zip(orders[1:], changes[1:], rates[1:], strict=True):
        flow[:-1, order.argmax()] += rate * change
    means = expm(3.0 * flow)[:-1, -1]
    counts = simulate(network, np.zeros(species, int), [3.0], 20_000, seed=10)[:, 0]
    for s in range(species):
        assert chi_square_p_value(counts[:, s], poisson(means[s]).pmf(np.arange(120))) > P_VALUE
    correlations = np.corrcoef(counts[:, means > 0.1].T) - np.eye((means > 0.1).sum())
    assert np.abs(correlations).max() < 4.5 / np.sqrt(len(counts))
