"""Files are written whole or not at all, whatever interrupts, and errors say which and why."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lse_vi import LSEICNN, fit_density, load
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


WRITER = """
import sys, torch
from lse_vi import LSEICNN
pots = [LSEICNN(4, 40, hidden=(40, 40)), LSEICNN(4, 20, hidden=(40, 40))]
while True:
    for pot in pots:
        pot.save(sys.argv[1])
        print("saved", flush=True)
"""


@pytest.mark.slow
def test_kill_at_random_times_loses_no_file(tmp_path):
    path, delays = tmp_path / "pot.pt", torch.rand(20).tolist()
    for delay in delays:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, cwd=os.getcwd()
        )
        assert writer.stdout.readline() == b"saved\n"
        time.sleep(0.2 * delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert load(path).modes in (20, 40)


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
