"""Checkpoints: whole or absent, refused when corrupt or of another fit, and fits that resume."""

import numpy as np
import pytest
import torch

import lse_vi.densities.objective
from lse_vi import LSEICNN, fit_density
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.fingerprint import digest

QUICK = {"modes": 2, "steps": 120, "restarts": 2, "hidden": (4,), "progress": False}
Y = torch.linspace(-6.0, 6.0, 50, dtype=torch.float64).unsqueeze(-1)


def two_modes(n=60):
    return torch.cat([torch.randn(n) - 4, torch.randn(n) + 4])


def interrupt_at(monkeypatch, call):
    """Ctrl-C at the given evaluation of the objective."""
    log_prior, calls = lse_vi.densities.objective.log_prior, []

    def interrupted(pot):
        calls.append(pot.modes)
        if len(calls) == call:
            raise KeyboardInterrupt
        return log_prior(pot)

    monkeypatch.setattr(lse_vi.densities.objective, "log_prior", interrupted)


class TestFile:
    def test_no_path_does_nothing(self):
        file = Checkpoint(None, lambda: {"x": "a"})
        file.save({"step": 1})
        assert file.load() is None

    def test_what_was_saved_comes_back(self, tmp_path):
        file = Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a"})
        assert file.load() is None
        state = {"step": 3, "best": {"alpha": torch.randn(2, 3)}, "history": {"loss": [1.0]}}
        file.save(state)
        back = file.load()
        assert back["step"] == 3
        assert back["history"] == state["history"]
        assert torch.equal(back["best"]["alpha"], state["best"]["alpha"])
        assert [p.name for p in tmp_path.iterdir()] == ["fit.pt"]

    def test_a_write_that_fails_leaves_the_old_state(self, tmp_path):
        file = Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a"})
        file.save({"step": 1})
        with pytest.raises((AttributeError, TypeError, RuntimeError)):
            file.save({"step": lambda: None})  # cannot be pickled
        assert file.load() == {"step": 1}

    def test_another_fit_is_refused_by_what_differs(self, tmp_path):
        Checkpoint(tmp_path / "fit.pt", lambda: {"x": "a", "settings": "s"}).save({})
        with pytest.raises(ValueError, match=r"belongs to another fit \(different: x\)"):
            Checkpoint(tmp_path / "fit.pt", lambda: {"x": "b", "settings": "s"}).load()

    @pytest.mark.parametrize(
        "damage", ["empty", "noise", "truncated", "flipped", "potential", "tensor"]
    )
    def test_a_damaged_or_foreign_file_is_refused(self, tmp_path, damage):
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

    def test_loading_runs_no_code(self, tmp_path):
        class Malicious:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        path = tmp_path / "fit.pt"
        torch.save({"fingerprint": {"x": "a"}, "state": Malicious()}, path)
        with pytest.raises(ValueError, match="corrupt"):
            Checkpoint(path, lambda: {"x": "a"}).load()
        assert not (tmp_path / "ran").exists()

    def test_a_path_that_cannot_be_written_is_refused_at_once(self, tmp_path):
        for path in (tmp_path, tmp_path / "absent" / "fit.pt"):
            with pytest.raises(ValueError, match="a folder that exists"):
                Checkpoint(path, dict)


class TestDigest:
    """What tells the data of one fit from those of another."""

    @pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
    def test_one_bit_of_a_long_array_counts(self, kind):
        x = np.arange(5000.0)
        y = x.copy()
        y[2500] = np.nextafter(y[2500], 0.0)
        assert digest([kind(x)]) == digest([kind(x.copy())]) != digest([kind(y)])

    def test_shape_type_and_order_count(self):
        x = torch.zeros(6)
        forms = [
            [x], [x.reshape(2, 3)], [x.float()], [x.long()], [x.numpy()], [x, 1], [1, x],
            [x[:3], x[3:]],
        ]  # fmt: skip
        assert len({digest(form) for form in forms}) == len(forms)
        one = torch.ones(()).expand(1)  # of stride 0
        assert digest([one]) == digest([torch.ones(1)])
        assert digest([torch.arange(6.0)[::2]]) == digest([torch.tensor([0.0, 2.0, 4.0])])
        assert len({digest([v]) for v in (1, 1.0, True, "1", b"1", None, torch.tensor(1))}) == 7

    @pytest.mark.parametrize(
        "x",
        [object(), np.array([object()]), len, [1.0]],
        ids=["object", "array", "function", "list"],
    )
    def test_what_has_no_content_to_tell_is_refused(self, x):
        with pytest.raises(ValueError, match=r"an argument of type .* cannot be told"):
            digest([x])


class TestResume:
    # 121 evaluations for each number of modes: in the first fit, as the second starts, within it.
    @pytest.mark.parametrize("call", [75, 122, 190])
    @pytest.mark.parametrize("bounds", [None, (-9.0, 9.0)])
    def test_an_interrupted_fit_ends_as_an_uninterrupted_one(
        self, tmp_path, monkeypatch, call, bounds
    ):
        x, file = two_modes(), tmp_path / "fit.pt"
        whole = fit_density(x, bounds=bounds, **QUICK)
        with monkeypatch.context() as patch:
            interrupt_at(patch, call)
            with pytest.raises(KeyboardInterrupt):
                fit_density(x, bounds=bounds, checkpoint=file, **QUICK)
        resumed = fit_density(x, bounds=bounds, checkpoint=file, **QUICK)
        assert torch.equal(whole.density.log_prob(Y), resumed.density.log_prob(Y))
        assert str(whole) == str(resumed)
        assert whole.history["loss"] == resumed.history["loss"]

    def test_random_rules_resume_too(self, tmp_path, monkeypatch):
        x, file = two_modes(), tmp_path / "fit.pt"
        quick = {**QUICK, "method": lse_vi.LaplaceMixture(samples=64)}
        whole = fit_density(x, **quick)
        with monkeypatch.context() as patch:
            interrupt_at(patch, 190)
            with pytest.raises(KeyboardInterrupt):
                fit_density(x, checkpoint=file, **quick)
        resumed = fit_density(x, checkpoint=file, **quick)
        state = resumed.density.potential.state_dict()
        for name, p in whole.density.potential.state_dict().items():
            assert torch.equal(p, state[name]), name

    def test_a_finished_fit_is_read_back(self, tmp_path, monkeypatch):
        x, file = two_modes(), tmp_path / "fit.pt"
        whole = fit_density(x, checkpoint=file, **QUICK)
        interrupt_at(monkeypatch, 1)  # nothing is left to train
        again = fit_density(x, checkpoint=file, **QUICK)
        assert torch.equal(whole.density.log_prob(Y), again.density.log_prob(Y))

    @pytest.mark.parametrize(
        ("change", "what"),
        [({"x": 1.0}, "x"), ({"modes": 3}, "settings"), ({"seed": 1}, "schedule")],
    )
    def test_a_checkpoint_of_another_fit_is_refused(self, tmp_path, monkeypatch, change, what):
        x, file = two_modes(), tmp_path / "fit.pt"
        with monkeypatch.context() as patch:
            interrupt_at(patch, 60)
            with pytest.raises(KeyboardInterrupt):
                fit_density(x, checkpoint=file, **QUICK)
        shift, settings = change.get("x", 0.0), {k: v for k, v in change.items() if k != "x"}
        with pytest.raises(ValueError, match=rf"belongs to another fit \(different: {what}\)"):
            fit_density(x + shift, checkpoint=file, **{**QUICK, **settings})
