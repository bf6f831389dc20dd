"""Data larger than memory should be: read in parts, from maps on disk."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from lse_vi import LSEDensity, fit_density
from lse_vi.densities.data_source import PART, Points

QUICK = {"modes": 3, "steps": 150, "restarts": 1, "hidden": (4,), "progress": False}
MILLION = """
import re, sys
import numpy as np, torch
from lse_vi import fit_density

def peak():  # in KiB; ru_maxrss begins with that of the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

before = peak()
x = np.load(sys.argv[1], mmap_mode="r")
res = fit_density(x, modes=3, steps=150, restarts=1, progress=False)
print(int(res.active_modes), *res.mode_weights.tolist(), (peak() - before) / 2**20)
"""


def two_modes(n, dim, rng):
    """A third of the mass in a narrow mode, the rest in a wide one."""
    low = rng.random((n, 1)) < 1 / 3
    x = np.where(low, 0.5, 1.0) * rng.standard_normal((n, dim)) - 6 * low
    return x.astype(np.float32)


def test_points_are_read_in_parts_without_changing_them():
    rng = np.random.default_rng(0)
    x = 1e3 + rng.standard_normal((2 * PART + 5, 2)) * [1.0, 30.0]
    for source in (x, torch.as_tensor(x)):
        points = Points.of("x", source)
        torch.testing.assert_close(torch.cat(list(points.parts())), torch.as_tensor(x))
        torch.testing.assert_close(points.moments.mean, torch.as_tensor(x.mean(0)))
        torch.testing.assert_close(points.moments.deviation, torch.as_tensor(x.std(0, ddof=1)))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_a_memory_map_is_fitted_as_the_array_is(tmp_path, kind):
    x = (10 * two_modes(2000, 1, np.random.default_rng(2))).astype(kind)
    np.save(tmp_path / "x.npy", x)
    options = {**QUICK, "steps": 50, "batch_size": 500}
    there = fit_density(np.load(tmp_path / "x.npy", mmap_mode="r"), **options)
    here = fit_density(x, **options)
    y = torch.linspace(-70.0, 30.0, 20, dtype=here.density.potential.alpha.dtype).unsqueeze(-1)
    assert isinstance(here.density, LSEDensity)
    torch.testing.assert_close(here.density.log_prob(y), there.density.log_prob(y))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is not there")
def test_a_million_points_take_less_than_a_gibibyte(tmp_path):
    """Above what the import takes, measured in a process of its own."""
    rng, path = np.random.default_rng(3), tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(1_000_000, 4))
    for start in range(0, len(x), 100_000):
        x[start : start + 100_000] = two_modes(100_000, 4, rng)
    x.flush()
    done = subprocess.run(
        [sys.executable, "-c", MILLION, str(path)], capture_output=True, text=True, check=True
    )
    active, *weights, gibibytes = map(float, done.stdout.split())
    assert active == 2
    # the weights are means over 8,192 draws of the density: standard error 0.005
    assert max(weights) == pytest.approx(2 / 3, abs=0.02)
    assert gibibytes < 1.0
