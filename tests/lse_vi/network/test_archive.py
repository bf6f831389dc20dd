"""Files are written whole or not at all, whatever interrupts, and errors say which and why."""

import errno
import functools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from lse_vi import LSEICNN, fit_density
from lse_vi.commands.outputs import Outputs
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.network import archive
from lse_vi.network.archive import check_writable, read_archive, write_archive


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "pot.pt"
    LSEICNN(2, 3).save(path)
    return path


class Full:
    """A file on a full disk: what is written first fits."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(old, monkeypatch):
    before = old.read_bytes()
    full = lambda *a: Full(open(*a))  # noqa: E731, SIM115
    monkeypatch.setattr(archive, "open", full, raising=False)
    with pytest.raises(OSError, match=r"path: cannot write .*pot.pt: No space left") as error:
        LSEICNN(2, 5).save(old)
    assert error.value.errno == errno.ENOSPC
    assert old.read_bytes() == before
    assert os.listdir(old.parent) == ["pot.pt"]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(old, monkeypatch):
    before = old.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LSEICNN(2, 5).save(old)
    assert old.read_bytes() == before
    assert os.listdir(old.parent) == ["pot.pt"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: cannot write .*none/pot.pt: No such file"):
        LSEICNN(2, 3).save(tmp_path / "none" / "pot.pt")
    with pytest.raises(IsADirectoryError, match=r"path: cannot write"):
        LSEICNN(2, 3).save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_read_only_is_refused_before_a_fit(tmp_path, monkeypatch):
    def refused(self, **_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refused)  # the superuser may write anywhere
    with pytest.raises(PermissionError, match=r"checkpoint: cannot write .*fit.pt: Permission"):
        fit_density(torch.randn(50), checkpoint=tmp_path / "fit.pt", progress=False)
    assert os.listdir(tmp_path) == []


def test_a_link_is_followed_and_the_mode_is_that_of_other_files(tmp_path):
    (tmp_path / "there").mkdir()
    os.symlink(tmp_path / "there" / "pot.pt", tmp_path / "link.pt")
    check_writable("path", tmp_path / "link.pt")
    write_archive("path", {"a": 1}, tmp_path / "link.pt")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "link.pt").is_symlink()
    assert read_archive(tmp_path / "there" / "pot.pt") == {"a": 1}
    assert (tmp_path / "there" / "pot.pt").stat().st_mode == plain.stat().st_mode


def test_many_writers_of_one_file(tmp_path):
    path = tmp_path / "pot.pt"

    def write(i):
        write_archive("path", {"x": torch.full((1000,), float(i))}, path)
        x = read_archive(path)["x"]
        return bool((x == x[0]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write, range(100)))
    assert os.listdir(tmp_path) == ["pot.pt"]


def saves(path):
    pots = [LSEICNN(4, n, hidden=(40, 40)) for n in (40, 20)]
    yield from (functools.partial(pot.save, path) for pot in pots)


def checkpoints(path):
    for n in (200_000, 100_000):
        yield functools.partial(Checkpoint(path, dict).save, {"x": torch.full((n,), 1.0 * n)})


def reports(path):
    for n in (200_000, 100_000):
        yield functools.partial(Outputs(path.parent).text, path.name, "all " * n + "of it")


def figures(path):
    for n in (3, 2000):
        figure = Figure()
        figure.subplots().plot(range(n))
        yield functools.partial(Outputs(path.parent).figure, path.name, figure)


def whole(path):
    """Whether a file can be read, by its kind."""
    if path.suffix == ".txt":
        return path.read_text().endswith("all of it\n")
    if path.suffix == ".svg":
        return path.read_text().strip().endswith("</svg>")
    return bool(read_archive(path))


def write_on_and_on(writers, path, begun):
    turns = list(writers(path))
    while True:
        for write in turns:
            write()
            begun.send(True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("writers", "name"),
    [(saves, "a.pt"), (checkpoints, "a.pt"), (reports, "a.txt"), (figures, "a.svg")],
)
def test_kill_at_random_times_loses_no_file(writers, name, tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork on this system")
    fork, path = multiprocessing.get_context("fork"), tmp_path / name
    for delay in torch.rand(20).tolist():
        mine, theirs = fork.Pipe(duplex=False)
        writer = fork.Process(target=write_on_and_on, args=(writers, path, theirs))
        writer.start()
        assert mine.recv()
        time.sleep(0.2 * delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert whole(path)


SMALL_DISK = """
import errno, os, sys
from pathlib import Path
import torch
from lse_vi import LSEICNN, fit_posterior
from lse_vi.commands.outputs import Outputs

folder, few = Path(sys.argv[1]), {"modes": 1, "hidden": (), "guide": "laplace", "progress": False}
x = torch.linspace(-1, 1, 30)
LSEICNN(2, 3).save(folder / "pot.pt")
Outputs(folder).text("report.txt", "old")
fit_posterior(x, draws=20, checkpoint=folder / "fit.pt", **few)
before = {p.name: p.read_bytes() for p in folder.iterdir()}
try:
    for n in range(10):  # each larger than the last
        (folder / "filler").write_bytes(b"0" * 100_000 * (n + 1))
except OSError as error:
    assert error.errno == errno.ENOSPC
free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
(folder / "more").write_bytes(b"0" * free)
for call in (
    lambda: LSEICNN(4, 40, hidden=(40, 40)).save(folder / "pot.pt"),
    lambda: Outputs(folder).text("report.txt", "new " * 10_000),
    lambda: fit_posterior(x, draws=20, checkpoint=folder / "fit.pt", **few),
    lambda: fit_posterior(x, draws=20, checkpoint=folder / "new.pt", **few),
):
    try:
        call()
        print("done")
    except OSError as error:
        assert error.errno == errno.ENOSPC
        print(error.strerror)
    left = {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("filler", "more")}
    assert left == before, sorted(left)
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="there is no unshare to mount a disk with")
def test_a_small_disk_that_is_full_keeps_the_old_files(tmp_path):
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", tmp_path, sys.executable, SMALL_DISK]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode in (1, 77) and "Traceback" not in out.stderr:
        pytest.skip("disks cannot be mounted here")
    assert out.stderr == ""
    full = "No space left on device"
    assert out.stdout.splitlines() == [
        f"path: cannot write {tmp_path}/pot.pt: {full}",
        f"--out: cannot write {tmp_path}/report.txt: {full}",
        "done",  # it was before
        f"checkpoint: cannot write {tmp_path}/new.pt: {full}",
    ]


LIMITED = """
import resource, signal, sys
from lse_vi import LSEICNN
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))
try:
    LSEICNN(4, 40, hidden=(40, 40)).save(sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_limit_on_the_size_of_files_leaves_the_old_one(old):
    before = old.read_bytes()
    out = subprocess.run([sys.executable, "-c", LIMITED, old], capture_output=True, text=True)
    assert f"path: cannot write {old}: File too large" in out.stdout
    assert old.read_bytes() == before
    assert os.listdir(old.parent) == ["pot.pt"]
