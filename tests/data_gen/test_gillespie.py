"""The simulator: reproducible streams, faithful recording, clear refusals, speed.

Its laws are tested in test_gillespie_laws.py.
"""

import multiprocessing
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from data_gen import _direct, schlogl
from data_gen.gillespie import simulate, simulate_path
from data_gen.networks import CustomKinetics, MassAction, ReactionNetwork

DECAY = ReactionNetwork(["A"], [[-1]], MassAction([1.0], [[1]]))
ARRIVALS = ReactionNetwork(["A"], [[1]], MassAction([1.0], [[0]]))


# --- random numbers -----------------------------------------------------------------------------


def test_streams_are_those_of_the_published_generators():
    """SplitMix64 of seed 1234567, and xoshiro256++ from the state 1, 2, 3, 4."""
    state = np.empty(4, np.uint64)
    _direct._seed(state, np.uint64(1234567), np.uint64(0))
    assert state.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
    ]
    state[:] = [1, 2, 3, 4]
    assert [_direct._bits(state) for _ in range(6)] == [
        41943041,
        58720359,
        3588806011781223,
        3591011842654386,
        9228616714210784205,
        9973669472204895162,
    ]


def test_ziggurat_layers_have_equal_area():
    edge, height = _direct._EDGE, _direct._HEIGHT
    areas = edge[1:256] * (height[2:257] - height[1:256])
    tail = edge[1] * height[1] + height[1]
    np.testing.assert_allclose(areas, tail, rtol=1e-11)


def test_waiting_times_are_exponential():
    """200,000 arrivals of rate 1; the tail of the ziggurat starts at 7.7 and gets about 90."""
    waits = np.diff(simulate_path(ARRIVALS, 0, t_end=200_000.0, seed=3).times)
    assert kstest(waits, "expon").pvalue > 1e-3
    tail = waits[waits > _direct._EDGE[1]] - _direct._EDGE[1]
    assert len(tail) > 50
    assert kstest(tail, "expon").pvalue > 1e-3


# --- reproducibility ----------------------------------------------------------------------------


def test_bits_do_not_depend_on_the_thread_count():
    runs = [
        simulate(schlogl.network(), 250, [0.01, 0.1], 700, seed=11, threads=threads)
        for threads in (1, 2, 5)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks, from Python 3.12
def test_a_fork_after_a_first_run_can_simulate_too():
    """No thread pool stays behind that a forked child would wait for."""
    simulate(DECAY, 5, [1.0], 20)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        counts = pool.apply(simulate, (DECAY, 5, [1.0], 20))
    np.testing.assert_array_equal(counts, simulate(DECAY, 5, [1.0], 20))


def test_seeds():
    first, again, other = (
        simulate(schlogl.network(), 250, [0.05], 50, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.8


def test_a_shorter_run_is_a_prefix_of_a_longer_one():
    many = simulate(schlogl.network(), 250, [0.01], 600, seed=4)  # more than one batch
    few = simulate(schlogl.network(), 250, [0.01], 30, seed=4)
    np.testing.assert_array_equal(many[:30], few)
    assert len(np.unique(many)) > 20


# --- recording ----------------------------------------------------------------------------------


def test_shape_type_and_start():
    network = ReactionNetwork(["A", "B"], [[-1, 1]], MassAction([1.0], [[1, 0]]))
    counts = simulate(network, [30, 4], [0.0, 0.5, 40.0], 5, 1)
    assert counts.shape == (5, 3, 2)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts[:, 0], np.tile([30, 4], (5, 1)))
    np.testing.assert_array_equal(counts[:, -1], np.tile([0, 34], (5, 1)))  # absorbed


def test_grid_and_path_agree():
    times = np.linspace(0.0, 1.0, 41)
    counts = simulate(schlogl.network(), 250, times, 6, seed=5)
    for i in range(6):
        path = simulate_path(schlogl.network(), 250, 1.0, seed=5, trajectory=i)
        np.testing.assert_array_equal(path.at(times), counts[i])


def test_path_that_ends_in_an_absorbing_state():
    path = simulate_path(DECAY, 7, t_end=1e6, seed=0)
    np.testing.assert_array_equal(path.counts[:, 0], np.arange(7, -1, -1))
    assert path.at([1e6]).tolist() == [[0]]


def test_path_without_events():
    path = simulate_path(DECAY, 0, t_end=3.0)
    assert path.times.tolist() == [0.0]
    assert path.at([0.0, 3.0]).tolist() == [[0], [0]]


@pytest.mark.parametrize("outside", [-0.1, 3.1])
def test_path_refuses_times_outside(outside):
    with pytest.raises(ValueError, match=r"times must lie in \[0, 3.0\], but got"):
        simulate_path(DECAY, 2, t_end=3.0).at([1.0, outside])


@st.composite
def mass_action_networks(draw):
    species, reactions = draw(st.integers(1, 3)), draw(st.integers(1, 6))

    def matrix(largest):
        row = st.lists(st.integers(0, largest), min_size=species, max_size=species)
        return np.array(draw(st.lists(row, min_size=reactions, max_size=reactions)))

    orders, products = matrix(3), matrix(2)
    rates = draw(st.lists(st.floats(0.0, 2.0), min_size=reactions, max_size=reactions))
    names = ["A", "B", "C"][:species]
    return ReactionNetwork(names, products - orders, MassAction(rates, orders))


@settings(deadline=None, max_examples=100)
@given(
    network=mass_action_networks(),
    x0=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    seed=st.integers(0, 2**32),
)
def test_every_event_is_a_reaction_that_could_fire(network, x0, seed):
    try:
        path = simulate_path(network, x0[: len(network.species)], 0.2, seed, max_events=2_000)
    except RuntimeError:
        reject()  # it grows without bound
    assert (np.diff(path.times) > 0).all()
    assert (path.counts >= 0).all()
    possible = network.propensities(path.counts[:-1]) > 0
    steps = np.diff(path.counts, axis=0)
    fired = (steps[:, None] == network.stoichiometry).all(axis=-1)
    assert (fired & possible).any(axis=1).all()


def test_custom_kinetics_run_the_same_events():
    """The same propensities to the bit give the same trajectories to the bit."""

    def birth_death(counts, rates, out):
        out[0] = rates[0]
        out[1] = rates[1] * counts[0]

    changes, rates = [[1], [-1]], [10.0, 0.5]
    by_orders = ReactionNetwork(["A"], changes, MassAction(rates, [[0], [1]]))
    times = [0.5, 1.0, 5.0]
    expected = simulate(by_orders, 3, times, 40, seed=8)
    for function in (birth_death, numba.njit(birth_death)):
        by_function = ReactionNetwork(["A"], changes, CustomKinetics(rates, function))
        np.testing.assert_array_equal(simulate(by_function, 3, times, 40, seed=8), expected)


def test_progress_bar(capsys):
    simulate(DECAY, 5, [1.0], 600, seed=0, progress=True)
    assert "600/600" in capsys.readouterr().err
    simulate(DECAY, 5, [1.0], 600, seed=0)
    assert capsys.readouterr().err == ""


# --- refusals -----------------------------------------------------------------------------------


def test_event_limit_names_the_trajectory():
    with pytest.raises(RuntimeError, match=r"trajectory 0 reached max_events=50 at time .* raise"):
        simulate(ARRIVALS, 0, [1e6], 3, seed=1, max_events=50)
    with pytest.raises(RuntimeError, match=r"trajectory 7 reached max_events=50 .*'A': 50"):
        simulate_path(ARRIVALS, 0, 1e6, seed=1, trajectory=7, max_events=50)
    assert simulate(DECAY, 50, [1e6], 3, seed=1, max_events=50).sum() == 0  # exactly enough


def custom(function):
    return ReactionNetwork(["A", "B"], [[-1, 0], [0, 1]], CustomKinetics([1.0], function))


def turns_negative(counts, rates, out):
    out[0] = counts[0] - 2.5
    out[1] = 3.0


def turns_nan(counts, rates, out):
    out[0] = counts[0]
    out[1] = np.sqrt(counts[0] - 3.0)


def turns_infinite(counts, rates, out):
    out[0] = counts[0]
    out[1] = 1.0 / (counts[0] - 2.0)


def leaves_one_unwritten(counts, rates, out):
    out[0] = counts[0]
    if counts[0] > 3:
        out[1] = 0.0


@pytest.mark.parametrize("function", [turns_negative, turns_nan, turns_infinite])
def test_bad_propensities_are_reported(function):
    message = r"finite and non-negative, but in trajectory 0 at time .* counts .* they are \["
    with pytest.raises(ValueError, match=message):
        simulate(custom(function), [4, 0], [100.0], 2, seed=0)


def test_unwritten_propensities_are_reported():
    with pytest.raises(ValueError, match=r"counts {'A': 3, 'B': 0} they are \[3.0, nan\]"):
        simulate(custom(leaves_one_unwritten), [4, 0], [100.0], 2, seed=0)


def test_overflow_of_propensities_is_reported():
    explosive = ReactionNetwork(["A"], [[1]], MassAction([1e300], [[1]]))
    with pytest.raises(ValueError, match=r"finite and non-negative, .* they are \[inf\]"):
        simulate(explosive, 10**9, [1.0], 1, seed=0)


def test_firing_without_reactants_is_reported():
    def constant(counts, rates, out):
        out[0] = 1.0
        out[1] = 0.0

    with pytest.raises(ValueError, match=r"let reaction 0 fire without its .*'A': -1"):
        simulate(custom(constant), [2, 0], [100.0], 2, seed=0)


def test_function_that_numba_cannot_compile():
    def open_ended(counts, rates, out):
        out[0] = counts.no_such_method()

    with pytest.raises(TypeError, match="function 'open_ended' must be compilable by numba"):
        simulate(custom(open_ended), [2, 0], [1.0], 2, seed=0)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("x0", [-1], "x0 must be non-negative, but got -1"),
        ("x0", [0.5], "x0 must be whole numbers .* but got 0.5"),
        ("x0", [1, 2], r"x0 must have one count for each of \('A',\), but got \[1, 2\]"),
        ("x0", [np.inf], "x0 must be finite, but got inf"),
        ("x0", [1e300], r"x0 must be whole numbers of at most 2\*\*53"),
        ("times", [], "times must hold at least one time"),
        ("times", [1.0, 1.0], r"times must be strictly increasing, but got \[1.0, 1.0\]"),
        ("times", [-1.0], "times must be non-negative, but got -1.0"),
        ("times", [np.nan], "times must be finite, but got nan"),
        ("times", 2.0, r"times must be a vector, but got shape \(\)"),
        ("n_trajectories", 0, "n_trajectories must be at least 1, but got 0"),
        ("seed", -1, "seed must be at least 0, but got -1"),
        ("max_events", 0, "max_events must be at least 1, but got 0"),
    ],
)
def test_bad_values(argument, value, message):
    arguments = {"x0": [5], "times": [1.0], "n_trajectories": 2, "seed": 0, argument: value}
    with pytest.raises(ValueError, match=message):
        simulate(DECAY, **arguments)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("network", "A", "network must be a ReactionNetwork, but got 'A'"),
        ("x0", ["many"], "x0 must be real numbers"),
        ("n_trajectories", 2.0, "n_trajectories must be an integer, but got 2.0"),
        ("seed", True, "seed must be an integer, but got True"),
    ],
)
def test_bad_types(argument, value, message):
    arguments = {"network": DECAY, "x0": 5, "times": [1.0], "n_trajectories": 2, argument: value}
    with pytest.raises(TypeError, match=message):
        simulate(**arguments)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("t_end", -1.0, "t_end must be non-negative, but got -1.0"),
        ("t_end", np.nan, "t_end must be finite, but got nan"),
        ("trajectory", -1, "trajectory must be at least 0, but got -1"),
    ],
)
def test_bad_path_values(argument, value, message):
    with pytest.raises(ValueError, match=message):
        simulate_path(DECAY, 5, **{"t_end": 1.0, argument: value})


# --- speed --------------------------------------------------------------------------------------


def test_schlogl_speed():
    """200 trajectories to t = 10, 8.7 million events, within 0.5 s of one thread's time."""
    times = np.arange(0.5, 10.1, 0.5)
    simulate(schlogl.network(), 250, times[:1], 1)  # compile, or load
    spent = []
    for seed in range(3):
        start = time.process_time()  # other processes on the machine do not count
        simulate(schlogl.network(), 250, times, 200, seed, threads=1)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5


def test_processes_can_share_the_trajectories_of_a_seed():
    network, times = schlogl.network(), [0.1, 0.5]
    whole = simulate(network, schlogl.X0, times, 7, seed=3)
    parts = [simulate(network, schlogl.X0, times, 3, seed=3)]
    parts.append(simulate(network, schlogl.X0, times, 4, seed=3, first=3))
    assert np.array_equal(np.concatenate(parts), whole)


ENDLESS = """
import sys, time
from data_gen.gillespie import simulate, simulate_path
from data_gen.networks import MassAction, ReactionNetwork
walk = ReactionNetwork(["A"], [[1], [-1]], MassAction([1e9, 1e9], [[0], [1]]))
simulate(walk, 1, [1e-9], 1)  # compiled, or read from the cache
simulate_path(walk, 1, 1e-9)
print("ready", flush=True)
run = {"grid": lambda: simulate(walk, 1, [1e6], 40, threads=2),
       "path": lambda: simulate_path(walk, 1, 1e6, max_events=10**12)}
try:
    run[sys.argv[1]]()
except KeyboardInterrupt:
    print(time.time(), flush=True)
"""


@pytest.mark.parametrize("kind", ["grid", "path"])
def test_ctrl_c_is_answered_within_two_seconds(kind):
    command = [sys.executable, "-c", ENDLESS, kind]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        begun = time.time()
        try:
            answered, errors = child.communicate(timeout=20)
        finally:
            child.kill()  # one that does not answer would hold the suite for ever
    assert errors == ""
    assert float(answered) - begun < 2
