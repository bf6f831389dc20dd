"""Checkpoints: whole or absent, refused when corrupt or of another fit."""

import pytest
import torch

from lse_vi import LSEICNN
from lse_vi.fitting.checkpoint import Checkpoint


def test_no_path_does_nothing():
    file = Checkpoint(None, lambda: {"x": "a"})
    file.save({"step": 1})
    assert file.load() is None


def test_what_was_saved_comes_back(tmp_path):
    file = Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a"})
    assert file.load() is None
    state = {"step": 3, "best": {"alpha": torch.randn(2, 3)}, "history": {"loss": [1.0]}}
    file.save(state)
    back = file.load()
    assert back["step"] == 3
    assert back["history"] == state["history"]
    assert torch.equal(back["best"]["alpha"], state["best"]["alpha"])
    assert [p.name for p in tmp_path.iterdir()] == ["fit.pt"]


def test_a_write_that_fails_leaves_the_old_state(tmp_path):
    file = Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a"})
    file.save({"step": 1})
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        file.save({"step": lambda: None})  # cannot be pickled
    assert file.load() == {"step": 1}


def test_another_fit_is_refused_by_what_differs(tmp_path):
    Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a", "settings": "s"}).save({})
    with pytest.raises(ValueError, match=r"belongs to another fit \(different: x\)"):
        Checkpoint(tmp_path / "fit.pt", lambda: {"x": "b", "settings": "s"}).load()


@pytest.mark.parametrize(
    "damage", ["empty", "noise", "truncated", "flipped", "potential", "tensor"]
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path, damage):
    path = tmp_path / "fit.pt"
    file = Checkpoint(path, lambda: {"x": "a"})
    file.save({"best": torch.randn(100)})
    content = path.read_bytes()
    if damage == "potential":
        LSEICNN(1, 2).save(path)
    elif damage == "tensor":
        torch.save(torch.ones(3), path)
    else:
        numbers = file.load()["best"].numpy().tobytes()
        damaged = {
            "empty": b"",
            "noise": b"\x00\x01" * 99,
            "truncated": content[:-50],
            "flipped": content.replace(numbers, bytes([numbers[0] ^ 1]) + numbers[1:]),
        }
        path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="is corrupt; delete it"):
        file.load()


def test_loading_runs_no_code(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "fit.pt"
    torch.save({"fingerprint": {"x": "a"}, "state": Malicious()}, path)
    with pytest.raises(ValueError, match="corrupt"):
        Checkpoint(path, lambda: {"x": "a"}).load()
    assert not (tmp_path / "ran").exists()


def test_a_path_that_cannot_be_written_is_refused_at_once(tmp_path):
    for path in (tmp_path, tmp_path / "absent" / "fit.pt"):
        with pytest.raises(ValueError, match="a folder that exists"):
            Checkpoint(path, dict)
