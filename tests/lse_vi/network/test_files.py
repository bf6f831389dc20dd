"""Saved potentials: read back bit for bit, refused when they are anything else, never run."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lse_vi import ICNN, LSEICNN, LSEDensity, WhitenedICNN, load

REFUSED = "expected a potential written by LSEICNN.save"
IN_TMP = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("hidden", "batch_shape"), [((), ()), ((5,), (2,)), ((4, 7), (2, 3))])
def test_roundtrip(random_potential, tmp_path, network, dtype, hidden, batch_shape):
    pot = random_potential(
        0, 3, network=network, hidden=hidden, batch_shape=batch_shape, dtype=dtype, rho=0.7
    )
    pot.save(tmp_path / "pot.pt")
    again = load(tmp_path / "pot.pt")
    mine, theirs = pot.state_dict(), again.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert repr(again) == repr(pot)
    x = torch.randn(5, *batch_shape, 3, dtype=dtype)
    assert torch.equal(again(x), pot(x))


def test_a_path_may_be_a_string(random_potential, tmp_path):
    random_potential(0, 2).save(str(tmp_path / "pot.pt"))
    assert isinstance(load(str(tmp_path / "pot.pt")), LSEICNN)


def test_a_density_is_its_potential(random_potential, tmp_path):
    pot = random_potential(0, 2, network=WhitenedICNN)
    pot.save(tmp_path / "pot.pt")
    x = torch.randn(5, 2)
    again = LSEDensity(load(tmp_path / "pot.pt"))
    assert torch.equal(again.log_prob(x), LSEDensity(pot).log_prob(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("saved") / "pot.pt"
    LSEICNN(2, 3, dtype=torch.float64).save(path)
    return path


@IN_TMP
@given(data=st.data())
def test_truncated_files(saved, tmp_path, data):
    content = saved.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    (tmp_path / "cut.pt").write_bytes(content[:length])
    with pytest.raises(ValueError, match=REFUSED):
        load(tmp_path / "cut.pt")


@IN_TMP
@given(data=st.data(), mask=st.integers(1, 255))
def test_files_with_a_flipped_byte(saved, tmp_path, data, mask):
    """Refused, or else the byte did not matter: a damaged potential is never handed out."""
    content = saved.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    (tmp_path / "bad.pt").write_bytes(
        content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]
    )
    try:
        again = load(tmp_path / "bad.pt")
    except ValueError:
        return
    state = load(saved).state_dict()
    assert all(torch.equal(p, state[name]) for name, p in again.state_dict().items())


def write_numbers(path):
    np.savez(path, x=np.ones(3))


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


FOREIGN = {
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("E,x\n1.0,2.0\n"),
    "numbers": write_numbers,
    "zip": write_zip,
    "plain pickle": lambda path: path.write_bytes(pickle.dumps({"config": {}})),
    "a tensor": lambda path: torch.save(torch.ones(3), path),
    "a list": lambda path: torch.save([1, 2], path),
    "a state dict": lambda path: torch.save(torch.nn.Linear(2, 3).state_dict(), path),
    "a module": lambda path: torch.save(torch.nn.Linear(2, 3), path),
    "no state": lambda path: torch.save({"lse_vi": 1, "config": {"dim": 2, "modes": 3}}, path),
    "config a number": lambda path: torch.save({"config": 3, "state": {}}, path),
    "config a string": lambda path: torch.save({"config": "abc", "state": {}}, path),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files(tmp_path, write):
    path = tmp_path / "foreign.npz"
    write(path)
    with pytest.raises(ValueError, match=REFUSED):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"network": "Linear"},
        {"network": ["ICNN"]},
        {"dtype": "no_such_dtype"},
        {"dtype": "nn"},
        {"dtype": 64},
        {"dim": 5},
        {"dim": "2"},
        {"modes": 0},
        {"modes": 2.5},
        {"hidden": 4},
        {"hidden": [4, -1]},
        {"batch_shape": [-1]},
        {"batch_shape": ["a"]},
        {"colour": "red"},
        {"rho": -1.0},
    ],
    ids=str,
)
def test_files_with_a_wrong_config(random_potential, tmp_path, change):
    path = tmp_path / "pot.pt"
    random_potential(0, 2).save(path)
    content = torch.load(path, weights_only=True)
    content["config"] |= change
    torch.save(content, path)
    with pytest.raises(ValueError, match=REFUSED):
        load(path)


class Attack:
    """Unpickling this makes a directory."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "plain pickle"])
def test_no_code_in_a_file_is_run(random_potential, tmp_path, archive):
    pot = random_potential(0, 2)
    pot.save(tmp_path / "pot.pt")
    content = torch.load(tmp_path / "pot.pt", weights_only=True)
    content["state"]["alpha"] = Attack(tmp_path / "owned")
    if archive:
        torch.save(content, tmp_path / "attack.pt")
    else:
        (tmp_path / "attack.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=REFUSED):
        load(tmp_path / "attack.pt")
    assert not (tmp_path / "owned").exists()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.pt"):
        load(tmp_path / "nowhere.pt")


def test_a_later_format_is_refused_by_name(saved, tmp_path):
    content = torch.load(saved, weights_only=True)
    torch.save(content | {"lse_vi": 99}, tmp_path / "later.pt")
    with pytest.raises(ValueError, match=r"format 99.*reads formats up to 3; update lse_vi"):
        load(tmp_path / "later.pt")


def test_what_is_not_trained_stays_so(random_potential, tmp_path):
    pot = random_potential(0, 2)
    pot.log_rho.requires_grad_(False)
    pot.save(tmp_path / "pot.pt")
    again = load(tmp_path / "pot.pt")
    assert [p.requires_grad for p in again.parameters()] == [
        p.requires_grad for p in pot.parameters()
    ]


def _nan(saved):
    saved["state"]["alpha"][0] = torch.nan


def _larger_than_the_file(saved):
    saved["state"]["alpha"] = torch.zeros(1).expand(10**9)
    saved["config"]["modes"] = 10**9


def _wide(saved):
    saved["config"]["hidden"] = [10**5, 10**5]


def _deep(saved):
    saved["config"]["hidden"] = [1] * 10**6


@pytest.mark.parametrize("damage", [_nan, _larger_than_the_file, _wide, _deep])
def test_states_that_are_no_potential_are_refused_before_memory_is_taken(saved, tmp_path, damage):
    content = torch.load(saved)
    damage(content)
    torch.save(content, tmp_path / "pot.pt")
    with pytest.raises(ValueError, match=REFUSED):
        load(tmp_path / "pot.pt")
