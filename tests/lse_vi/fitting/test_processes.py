"""Two processes fit as one does."""

import json
import subprocess
import sys

import torch

from lse_vi import fit_density
from lse_vi.fitting.processes import average_, own_share, processes

SCRIPT = """
import json, sys, torch
from lse_vi import fit_density
torch.set_default_dtype(torch.float64)
torch.distributed.init_process_group("gloo")
x = torch.load(sys.argv[1], weights_only=True)
fit = fit_density(x, modes=2, steps=100, polish=0, progress=False)
polished = fit_density(x, modes=2, steps=100, progress=False)
results = [[p.tolist() for p in f.density.potential.parameters()] for f in (fit, polished)]
traces = [fit.history["loss"], polished.history["loss"]]
rank = torch.distributed.get_rank()
open(sys.argv[2] + str(rank), "w").write(json.dumps([traces, results]))
torch.distributed.destroy_process_group()
"""


def test_alone_nothing_changes():
    x = torch.arange(5.0)
    assert processes() == 1
    assert torch.equal(own_share(x), x)
    average_([x])
    assert torch.equal(x, torch.arange(5.0))


def test_two_processes_fit_as_one(tmp_path):
    """301 points: one process has one more of each step than the other.

    Adam's trace and parameters are those of one process; L-BFGS, whose line searches amplify
    rounding, ends as high, and both processes with the same bits.
    """
    x = torch.cat([torch.randn(100, 2) - 4, torch.randn(201, 2) + 4])
    one = fit_density(x, modes=2, steps=100, polish=0, progress=False)
    higher = fit_density(x, modes=2, steps=100, progress=False)
    data, script, out = tmp_path / "x.pt", tmp_path / "fit.py", tmp_path / "out"
    torch.save(x, data)
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, *launch, script, data, out], check=True, capture_output=True)
    (trace, polished), (state, final) = json.loads(out.with_name("out0").read_text())
    torch.testing.assert_close(torch.tensor(trace), torch.tensor(one.history["loss"]))
    for p, own in zip(state, one.density.potential.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(p), own.detach(), atol=1e-6, rtol=1e-6)
    assert abs(polished[-1] - higher.history["loss"][-1]) < 0.01
    assert json.loads(out.with_name("out1").read_text())[1] == [state, final]
