"""Two processes fit as one does."""

import json
import subprocess
import sys

import torch

from lse_vi import fit_density
from lse_vi.parallel import average_, own_share, processes

SCRIPT = """
import json, sys, torch
from lse_vi import fit_density
torch.set_default_dtype(torch.float64)
torch.distributed.init_process_group("gloo")
x = torch.load(sys.argv[1], weights_only=True)
fit = fit_density(x, modes=2, steps=100, restarts=1, progress=False)
state = [p.tolist() for p in fit.density.potential.parameters()]
if torch.distributed.get_rank() == 0:
    open(sys.argv[2], "w").write(json.dumps([fit.history["loss"], state]))
torch.distributed.destroy_process_group()
"""


def test_alone_nothing_changes():
    x = torch.arange(5.0)
    assert processes() == 1
    assert torch.equal(own_share(x), x)
    average_([x])
    assert torch.equal(x, torch.arange(5.0))


def test_two_processes_give_the_trace_of_one(tmp_path):
    """301 points: one process has one more of each step than the other."""
    x = torch.cat([torch.randn(100, 2) - 4, torch.randn(201, 2) + 4])
    one = fit_density(x, modes=2, steps=100, restarts=1, progress=False)
    data, script, out = tmp_path / "x.pt", tmp_path / "fit.py", tmp_path / "out.json"
    torch.save(x, data)
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, *launch, script, data, out], check=True, capture_output=True)
    loss, state = json.loads(out.read_text())
    torch.testing.assert_close(torch.tensor(loss), torch.tensor(one.history["loss"]))
    for p, own in zip(state, one.density.potential.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(p), own.detach(), atol=1e-6, rtol=1e-6)
