"""fit_potential: the right wells from every seed, one scale, no lost work, clear errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import lse_vi.potentials.training
from lse_vi import (
    ICNN,
    LSEICNN,
    Adam,
    FewestModes,
    LevenbergMarquardt,
    NonFiniteLossError,
    WhitenedICNN,
    fit_potential,
    paper_recipe,
)

QUICK = {"progress": False, "restarts": 3, "solver": LevenbergMarquardt(steps=30), "polish": 0}


def double_well(x):
    return (x**2 - 1) ** 2


def small(modes=4, dim=1, **options):
    return LSEICNN(dim, modes, hidden=(5,), **options)


def basin(x):
    """Two wells in two dimensions, (+-1, 0), with unlike scales: (..., 2) -> (...)."""
    return double_well(x[..., 0]) + 40 * x[..., 1] ** 2


def basin_gradient(x):
    return torch.stack([4 * x[..., 0] * (x[..., 0] ** 2 - 1), 80 * x[..., 1]], dim=-1)


class TestValues:
    @pytest.mark.parametrize("seed", range(4))
    def test_wells_and_modes_are_found_without_their_number(self, seed):
        x = torch.rand(120) * 4 - 2
        res = fit_potential(small(), x, value=double_well(x), seed=seed, **QUICK)
        assert int(res.active_modes) == 2
        torch.testing.assert_close(
            res.minima.points.sort(0).values, torch.tensor([[-1.0], [1.0]]), atol=0.05, rtol=0
        )
        assert float(res.error) < 0.02
        assert "2 modes, 2 minima" in str(res)

    def test_noise_makes_no_wells(self):
        x = torch.rand(200) * 4 - 2
        y = double_well(x) + 0.3 * torch.randn(200)  # a tenth of the spread, five tolerances
        res = fit_potential(small(), x, value=y, **QUICK)
        assert int(res.active_modes) == 2
        assert len(res.minima.points) == 2
        with torch.no_grad():
            off = res.potential(x.unsqueeze(-1)) - double_well(x)
        assert float(off.square().mean().sqrt()) < 0.3

    def test_units_do_not_matter(self):
        x = torch.rand(100) * 4 - 2
        one = fit_potential(small(2), x, value=double_well(x), **QUICK)
        two = fit_potential(small(2), 1e3 * x + 5, value=1e4 * double_well(x) - 7e4, **QUICK)
        with torch.no_grad():
            e = one.potential(x.unsqueeze(-1))
            scaled = two.potential(1e3 * x.unsqueeze(-1) + 5)
        torch.testing.assert_close(scaled, 1e4 * e - 7e4, rtol=1e-3, atol=1.0)

    def test_a_batch_of_fits_is_that_of_its_members(self):
        x = torch.rand(100, 2, 1) * 4 - 2
        y = torch.stack([double_well(x[:, 0, 0]), 3 * x[:, 1, 0] ** 2], dim=-1)
        res = fit_potential(small(batch_shape=(2,)), x, value=y, **QUICK)
        assert res.active_modes.tolist() == [2, 1]
        assert [len(res.select(i).minima.points) for i in range(2)] == [2, 1]
        assert str(res).count("minimum at") == 3
        assert len(res.history["rho"][-1]) == 2

    def test_float32_stays_float32(self):
        pot = small(2, dtype=torch.float32)
        x = np.linspace(-2, 2, 60)
        res = fit_potential(pot, x, value=double_well(x), **QUICK)
        assert res.potential(torch.zeros(1, 1, dtype=torch.float32)).dtype == torch.float32
        assert float(res.error) < 0.05


class TestGradients:
    @pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
    def test_a_gradient_gives_the_potential_up_to_an_offset(self, network):
        x = torch.rand(150, 2) * torch.tensor([3.0, 0.5]) - torch.tensor([1.5, 0.25])
        pot, options = small(2, dim=2, network=network), {**QUICK, "restarts": 8}
        res = fit_potential(pot, x, gradient=basin_gradient(x), discovery=None, **options)
        with torch.no_grad():
            off = res.potential(x) - basin(x)
            spread = basin(x).std()
            assert float(res.potential(x).min()) == pytest.approx(0.0, abs=1e-12)
        assert float(off.std() / spread) < 0.05
        assert len(res.minima.points) == 2

    def test_values_and_gradients_together(self):
        x = torch.rand(80, 2) * torch.tensor([3.0, 0.5]) - torch.tensor([1.5, 0.25])
        res = fit_potential(
            small(2, dim=2), x, basin(x), basin_gradient(x), discovery=None, **QUICK
        )
        with torch.no_grad():
            torch.testing.assert_close(res.potential(x), basin(x), atol=0.2, rtol=0)

    def test_a_component_of_weight_zero_does_not_count(self):
        x = torch.rand(80, 2) * torch.tensor([3.0, 0.5]) - torch.tensor([1.5, 0.25])
        gradient = basin_gradient(x)
        spoiled = torch.stack([gradient[:, 0], torch.randn(80)], dim=-1)
        weight = [1.0, 0.0]
        options = {"discovery": None, "gradient_weight": weight, **QUICK}
        one = fit_potential(small(2, dim=2), x, gradient=spoiled, **options)
        with torch.no_grad():
            fitted = one.potential.gradient(x)[:, 0]
        assert float((fitted - gradient[:, 0]).std() / gradient[:, 0].std()) < 0.1

    def test_fits_are_conservative(self):
        """A symmetric Hessian, and no work done around a closed path."""
        x = torch.rand(60, 2) * 3 - 1.5
        twisted = basin_gradient(x) + 5 * torch.stack([-x[:, 1], x[:, 0]], dim=-1)  # no potential
        pot = fit_potential(small(2, dim=2), x, gradient=twisted, discovery=None, **QUICK).potential
        with torch.no_grad():
            h = pot.hessian(x)
            turn = torch.linspace(0, 2 * torch.pi, 401)[:-1]
            circle = torch.stack([turn.cos(), turn.sin()], dim=-1)
            tangent = torch.stack([-turn.sin(), turn.cos()], dim=-1)
            work = (pot.gradient(circle) * tangent).sum(-1)
        torch.testing.assert_close(h, h.mT, atol=1e-9, rtol=1e-9)
        assert abs(float(work.mean())) < 1e-6 * float(work.abs().mean())


@pytest.mark.parametrize("recipe", [paper_recipe(steps=5), QUICK | {"discovery": None}])
def test_errors_are_shares_of_the_spread_of_the_targets(recipe):
    """Whatever the units, and whether or not the fit standardises: that of (E - y) to that of y."""
    x = torch.rand(60) * 4 - 2
    y, slope = 1e3 * double_well(x), 4e3 * x * (x**2 - 1)
    options = recipe | {"held_out": 0.0, "progress": False}
    pot = fit_potential(small(2), x, value=y, **options)
    with torch.no_grad():
        share = (pot.potential(x[:, None]) - y).square().mean() / (y - y.mean()).square().mean()
    torch.testing.assert_close(pot.error.square(), share)
    pot = fit_potential(small(2), x, gradient=slope, gradient_weight=4.0, **options)
    with torch.no_grad():
        missed = pot.potential.gradient(x[:, None]).squeeze(-1) - slope
    torch.testing.assert_close(
        pot.error.square(), 4 * missed.square().mean() / slope.square().mean()
    )


class TestRuns:
    def test_same_seed_same_bits_and_nothing_else_is_touched(self):
        x, pot = torch.rand(60) * 4 - 2, small(2)
        start = {name: p.clone() for name, p in pot.state_dict().items()}
        before = torch.get_rng_state()
        one, two = (fit_potential(pot, x, value=double_well(x), seed=3, **QUICK) for _ in range(2))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(p, start[name]) for name, p in pot.state_dict().items())
        for name, p in one.potential.state_dict().items():
            assert torch.equal(p, two.potential.state_dict()[name])

    def test_restarts_0_goes_on_from_where_pot_is(self):
        x = torch.rand(60) * 4 - 2
        options = QUICK | {"discovery": None, "held_out": 0.0}
        first = fit_potential(small(2), x, value=double_well(x), **options)
        options |= {"restarts": 0, "solver": LevenbergMarquardt(steps=5)}
        again = fit_potential(first.potential, x, value=double_well(x), **options)
        assert again.history["loss"][0] <= 1.01 * float(first.error) ** 2
        assert float(again.error) <= 1.01 * float(first.error)

    @pytest.mark.parametrize("standardise", [True, False])
    @pytest.mark.parametrize("discovery", [None, FewestModes()])
    @pytest.mark.parametrize("solver", [LevenbergMarquardt(steps=5), Adam(steps=20)])
    def test_a_frozen_rho_stays(self, solver, discovery, standardise):
        """Also one below the sharpness that a search asks for."""
        pot = small(2, rho=0.1)
        pot.log_rho.requires_grad_(False)
        x = torch.rand(60) * 4 - 2
        options = QUICK | {"solver": solver, "discovery": discovery, "standardise": standardise}
        res = fit_potential(pot, x, value=10 * double_well(x), **options)
        assert float(res.potential.rho) == pytest.approx(0.1)

    def test_frozen_gates_stay(self):
        pot = small(2, gate=0.3)
        pot.alpha.requires_grad_(False)
        x = torch.rand(60) * 4 - 2
        res = fit_potential(pot, x, value=double_well(x), discovery=None, **QUICK)
        assert torch.equal(res.potential.alpha, pot.alpha)

    def test_frozen_networks_stay_or_are_refused(self):
        pot = small(2)
        pot.network.requires_grad_(False)
        x = torch.rand(60) * 4 - 2
        options = QUICK | {"discovery": None, "restarts": 0}
        with pytest.raises(ValueError, match=r"pot: its network .* restarts=0"):
            fit_potential(pot, x, value=double_well(x), **options)
        res = fit_potential(pot, x, value=double_well(x), standardise=False, **options)
        for name, kept in pot.network.named_parameters():
            torch.testing.assert_close(res.potential.network.get_parameter(name), kept)
        assert not torch.equal(res.potential.log_rho, pot.log_rho)

    @pytest.mark.parametrize(
        "solver", [LevenbergMarquardt(steps=12), Adam(steps=60, check_every=5)]
    )
    def test_an_interrupted_fit_ends_where_an_uninterrupted_one_does(
        self, tmp_path, monkeypatch, solver
    ):
        x, file = torch.rand(60) * 4 - 2, tmp_path / "fit.pt"
        options = QUICK | {"solver": solver, "polish": 4}
        whole = fit_potential(small(2), x, value=double_well(x), **options)
        pot, record, calls = small(2), lse_vi.potentials.training._note, 0

        def interrupt(*arguments):
            nonlocal calls
            calls += 1
            if calls == 9:
                raise KeyboardInterrupt
            return record(*arguments)

        monkeypatch.setattr(lse_vi.potentials.training, "_note", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_potential(pot, x, value=double_well(x), checkpoint=file, **options)
        monkeypatch.setattr(lse_vi.potentials.training, "_note", record)
        torch.manual_seed(7)
        before = torch.get_rng_state()
        resumed = fit_potential(pot, x, value=double_well(x), checkpoint=file, **options)
        for name, p in whole.potential.state_dict().items():
            assert torch.equal(p, resumed.potential.state_dict()[name])
        assert torch.equal(torch.get_rng_state(), before)
        assert whole.history == resumed.history
        with pytest.raises(ValueError, match="belongs to another fit"):
            fit_potential(pot, x + 1, value=double_well(x), checkpoint=file, **options)

    def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(self):
        x = torch.rand(60) * 4 - 2
        options = QUICK | {"solver": Adam(steps=100, learning_rate=1e150, check_every=1)}
        with pytest.raises(NonFiniteLossError, match="at step") as caught:
            fit_potential(small(2), x, value=double_well(x), **options)
        state = caught.value.potential.state_dict()
        assert all(torch.isfinite(p).all() for p in state.values())


def test_the_paper_recipe_closes_no_gate():
    """L1 on alpha stops at alpha = 0, a gate of 4.5e-5: ten active modes by the paper's own count.

    The penalty is raised so that it wins within a test's time.
    """
    x = torch.rand(100) * 4 - 2
    recipe = paper_recipe()
    recipe["solver"] = replace(
        recipe["solver"], steps=300, gate_learning_rate=3e-2, gate_penalty=100.0
    )
    res = fit_potential(LSEICNN(1, 10), x, value=double_well(x), progress=False, **recipe)
    gates = res.potential.gates.detach()
    assert bool((gates > 1e-6).all())
    assert bool((gates < 1e-4).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": None}, "both None"),
        ({"x": torch.empty(0)}, "x is empty"),
        ({"x": torch.rand(20, 3)}, "last dimension 1"),
        ({"x": torch.ones(20)}, r"constant in column \[0\]"),
        ({"x": torch.rand(20).index_fill(0, torch.tensor(3), torch.nan)}, "x must be finite"),
        ({"value": torch.rand(19)}, r"value must have shape \(20,\)"),
        ({"value": torch.full((20,), torch.inf)}, "value must be finite"),
        ({"gradient": torch.rand(20, 2)}, r"gradient must have shape \(20, 1\)"),
        ({"value": 0.5}, r"value must have shape \(20,\), one entry per point of x, but got \(\)"),
        ({"value": [1.0]}, r"value must have shape \(20,\), one entry per point of x, .* \(1,"),
        ({"gradient": torch.rand(1, 1)}, r"gradient must have shape \(20, 1\), .*got \(1, 1\)"),
        ({"gradient": torch.rand(1)}, r"gradient must have shape \(20, 1\), .* got \(1,\)"),
        (
            {"pot": LSEICNN(1, 2, batch_shape=(3,)), "value": torch.rand(3)},
            r"value must have shape \(20, 3\), one entry per point of x, but got \(3,\)",
        ),
        ({"value_weight": -1.0}, "value_weight must not be negative"),
        ({"held_out": 1.0}, "held_out"),
        ({"restarts": 0}, "restarts=0"),
        ({"pot": LSEICNN(1, 30)}, "at most as many modes"),
    ],
)
def test_bad_input_is_named(arguments, message):
    x = torch.linspace(0, 1, 20)
    given = {"pot": small(2), "x": x, "value": x, "progress": False, **arguments}
    with pytest.raises(ValueError, match=message):
        fit_potential(**given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pot": "pot"}, "pot must be an LSEICNN, but got 'pot'"),
        ({"solver": "adam"}, r"solver must be .* Adam\(\), but got 'adam'"),
        ({"solver": Adam}, "solver must be an object .* but got <class"),
        ({"discovery": True}, r"discovery must be of type FewestModes, but got True"),
        ({"seed": 0.5}, r"seed must be an integer, but got 0\.5"),
    ],
)
def test_objects_of_another_kind_are_named(arguments, message):
    x = torch.linspace(0, 1, 20)
    given = {"pot": small(2), "x": x, "value": x, "progress": False, **arguments}
    with pytest.raises(TypeError, match=message):
        fit_potential(**given)


@pytest.mark.parametrize("options", [{"gain": 1.0}, {"tolerance": 0.0}, {"sharpness": -1.0}])
def test_bad_discovery_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FewestModes(**options)
