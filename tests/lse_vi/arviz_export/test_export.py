"""ArviZ objects: right values, named dimensions, and an ArviZ that is content with them."""

import math
import warnings
from types import SimpleNamespace

import arviz as az
import arviz_base
import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from torch.distributions import constraints

from lse_vi.arviz_export.export import assemble, gather, to_arviz

matplotlib.use("Agg")

DATA = torch.tensor([0.3, -1.2, 0.8, 2.1, 0.1, 0.9], dtype=torch.float64)
modes_of_running = pytest.mark.parametrize("parallel", [False, True], ids=["loop", "plate"])


def conjugate(y):
    """mu ~ N(0, 1), y_i ~ N(mu, 1): its posterior is N(sum y / (n + 1), 1 / (n + 1))."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def exact_guide(y):
    pyro.sample("mu", dist.Normal(y.sum() / (len(y) + 1), (len(y) + 1) ** -0.5))


def hierarchy(y):
    """Sites in no plate, one plate to the left, both plates; vector events; computed sites."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    scale = pyro.deterministic("scale", mu.exp())
    pyro.deterministic("positive", mu > 0)
    group, time = pyro.plate("group", 3, dim=-2), pyro.plate("time", 4, dim=-1)
    with group:
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
    with group, time:
        level = pyro.deterministic("level", shift + weights[..., 0] * torch.arange(4.0))
        pyro.sample("y", dist.Normal(level, scale), obs=y)


def groups_of(idata):
    """The names of the groups, in ArviZ 0.x and 1.x."""
    return set(idata.children if isinstance(idata, xr.DataTree) else idata.groups())


def draws_of(model, *args, lead=(2, 3), sites):
    """Prior draws (chain, draw, *shape) of some sites."""
    n = math.prod(lead)
    runs = [poutine.trace(model).get_trace(*args).nodes for _ in range(n)]
    values = {name: torch.stack([run[name]["value"] for run in runs]) for name in sites}
    return {name: value.reshape(*lead, *value.shape[1:]) for name, value in values.items()}


class TestGroups:
    @modes_of_running
    @pytest.mark.parametrize(
        "guide", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal], ids=lambda g: g.__name__
    )
    def test_plates_become_dimensions(self, guide, parallel):
        y = torch.randn(3, 4)
        idata = to_arviz(guide(hierarchy), hierarchy, y, num_samples=7, parallel=parallel)
        shapes = {
            "mu": {},
            "scale": {},
            "positive": {},
            "weights": {"weights_dim_0": 2},
            "shift": {"group": 3},
            "level": {"group": 3, "time": 4},
        }
        for group in ("posterior", "prior"):
            assert set(idata[group]) == set(shapes)
            for name, shape in shapes.items():
                assert dict(idata[group][name].sizes) == {"chain": 1, "draw": 7, **shape}
        for group in ("log_likelihood", "posterior_predictive", "prior_predictive"):
            assert dict(idata[group]["y"].sizes) == {"chain": 1, "draw": 7, "group": 3, "time": 4}
        assert idata["observed_data"]["y"].dims == ("group", "time")
        assert np.array_equal(idata["observed_data"]["y"], y)

    @modes_of_running
    def test_log_likelihood_and_computed_sites_by_hand(self, parallel):
        y = torch.randn(3, 4)
        guide = AutoNormal(hierarchy)
        idata = to_arviz(guide, hierarchy, y, num_samples=7, parallel=parallel, prior=False)
        post = {
            name: torch.as_tensor(idata["posterior"][name].values) for name in idata["posterior"]
        }
        slope = post["weights"][..., 0, None, None] * torch.arange(4.0)
        level = post["shift"][..., None] + slope
        by_hand = dist.Normal(level, post["mu"].exp()[..., None, None]).log_prob(y)
        assert torch.allclose(post["level"], level)
        assert torch.allclose(post["scale"], post["mu"].exp())
        assert idata["log_likelihood"]["y"].values == pytest.approx(by_hand.numpy())

    @modes_of_running
    def test_the_guide_and_the_prior_are_drawn_from(self, parallel):
        idata = to_arviz(exact_guide, conjugate, DATA, num_samples=1500, parallel=parallel)
        mean, sd = float(DATA.sum() / 7), 7**-0.5
        within = 5 / 1500**0.5  # five standard errors of a mean
        assert float(idata["posterior"]["mu"].mean()) == pytest.approx(mean, abs=within * sd)
        assert float(idata["posterior"]["mu"].std()) == pytest.approx(sd, rel=within)
        assert float(idata["prior"]["mu"].std()) == pytest.approx(1.0, rel=within)
        predicted, imagined = (
            idata[f"{group}_predictive"]["y"] for group in ("posterior", "prior")
        )
        assert predicted.mean("draw").values == pytest.approx(mean, abs=within * (1 + sd))
        assert predicted.std("draw").values == pytest.approx((1 + sd**2) ** 0.5, rel=within)
        assert imagined.std("draw").values == pytest.approx(2**0.5, rel=within)

    def test_predictions_follow_their_own_past_not_the_data(self):
        def walk(y):
            last = pyro.sample("start", dist.Normal(0.0, 1e-3))
            for i in range(3):
                last = pyro.sample(f"y{i}", dist.Normal(last, 1.0), obs=y[i])

        start = {"start": torch.zeros(1, 1000)}
        idata = to_arviz(start, walk, torch.full((3,), 50.0), prior=False)
        predicted = idata["posterior_predictive"]
        variances = [float(predicted[f"y{i}"].var()) for i in range(3)]
        assert variances == pytest.approx([1.0, 2.0, 3.0], rel=0.25)
        assert float(predicted["y2"].mean()) == pytest.approx(0.0, abs=0.5)

    def test_computed_sites_keep_their_value_in_predictions(self):
        # poutine.uncondition would redraw a deterministic site, and in a plate mis-shape it.
        idata = to_arviz(exact_guide, self.doubled, DATA, num_samples=4)
        assert dict(idata["prior_predictive"]["y"].sizes) == {"chain": 1, "draw": 4, "time": 6}
        assert np.array_equal(
            idata["prior"]["double"], 2 * idata["prior"]["mu"].expand_dims(time=6, axis=-1)
        )

    @staticmethod
    def doubled(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("time", len(y)):
            double = pyro.deterministic("double", (2 * mu).expand(len(y)))
            pyro.sample("y", dist.Normal(double, 1.0), obs=y)

    @modes_of_running
    def test_vector_observations_are_one_observation_each(self, parallel):
        def model(y):
            mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with pyro.plate("item", len(y)):
                pyro.sample("y", dist.MultivariateNormal(mu, torch.eye(2)), obs=y)

        y = torch.randn(5, 2)
        idata = to_arviz(AutoNormal(model), model, y, num_samples=3, parallel=parallel)
        assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "item")
        assert idata["posterior_predictive"]["y"].shape == (1, 3, 5, 2)
        assert idata["posterior_predictive"]["y"].dims[:3] == ("chain", "draw", "item")
        mu = torch.as_tensor(idata["posterior"]["mu"].values)[0, :, None]
        by_hand = dist.MultivariateNormal(mu, torch.eye(2)).log_prob(y)
        assert idata["log_likelihood"]["y"].values[0] == pytest.approx(by_hand.numpy())

    @modes_of_running
    def test_masked_observations_score_nothing(self, parallel):
        missing = torch.tensor([False, True, False, False, True, False])

        def model(y):
            with poutine.mask(mask=~missing):
                conjugate(y)

        idata = to_arviz(exact_guide, model, DATA, num_samples=3, parallel=parallel, prior=False)
        assert (idata["log_likelihood"]["y"].values[..., missing.numpy()] == 0).all()
        assert (idata["log_likelihood"]["y"].values[..., ~missing.numpy()] < 0).all()

    def test_several_observed_sites_and_a_loop_over_a_plate(self):
        def model(y):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            for i in pyro.plate("item", len(y)):
                pyro.sample(f"y{i}", dist.Normal(mu, 1.0), obs=y[i])

        idata = to_arviz(AutoNormal(model), model, DATA[:2], num_samples=3)
        assert set(idata["log_likelihood"]) == {"y0", "y1"}
        assert float(idata["observed_data"]["y1"].squeeze()) == DATA[1]

    def test_a_reparametrised_site_is_computed_not_data(self):
        model = poutine.reparam(conjugate, config={"mu": LocScaleReparam(0.0)})
        idata = to_arviz(AutoNormal(model), model, DATA, num_samples=3)
        assert set(idata["posterior"]) == {"mu", "mu_decentered"}
        assert set(idata["observed_data"]) == {"y"}

    def test_factors_are_no_data(self):
        def model():
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.factor("well", -(x**4))

        idata = to_arviz(AutoNormal(model), model, num_samples=3)
        assert groups_of(idata) == {"posterior", "prior"}

    def test_one_value_for_a_plate_is_data_for_each_of_its_items(self):
        def model():
            with pyro.plate("item", 3):
                x = pyro.sample("x", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.0))

        idata = to_arviz(AutoNormal(model), model, num_samples=3)
        assert dict(idata["observed_data"]["y"].sizes) == {"item": 3}
        assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "item")

    def test_a_model_takes_keyword_arguments(self):
        def model(y, scale):
            with poutine.scale(scale=scale):
                conjugate(y)

        draws = {"mu": torch.randn(1, 3)}
        one, two = (to_arviz(draws, model, DATA, scale=s, prior=False) for s in (1.0, 2.0))
        assert np.array_equal(two["log_likelihood"]["y"], 2 * one["log_likelihood"]["y"])


class TestMapping:
    def test_draws_pass_through_in_chains_and_draws(self):
        sites = ["mu", "weights", "shift"]
        draws = draws_of(hierarchy, torch.randn(3, 4), lead=(2, 5), sites=sites)
        idata = to_arviz(draws, hierarchy, torch.randn(3, 4), num_samples=3)
        assert np.array_equal(idata["posterior"]["weights"], draws["weights"])
        assert np.array_equal(idata["posterior"]["shift"], draws["shift"].squeeze(-1))
        assert dict(idata["log_likelihood"]["y"].sizes) == {
            "chain": 2,
            "draw": 5,
            "group": 3,
            "time": 4,
        }
        assert dict(idata["prior"]["mu"].sizes) == {"chain": 1, "draw": 3}

    def test_loop_and_plate_agree(self):
        y = torch.randn(3, 4)
        draws = draws_of(hierarchy, y, sites=["mu", "weights", "shift"])
        loop, plate = (
            to_arviz(draws, hierarchy, y, parallel=parallel, prior=False)
            for parallel in (False, True)
        )
        for group in ("posterior", "log_likelihood"):
            xr.testing.assert_allclose(loop[group], plate[group])

    def test_mcmc(self):
        mcmc = MCMC(NUTS(conjugate), num_samples=20, warmup_steps=20, disable_progbar=True)
        mcmc.run(DATA)
        idata = to_arviz(mcmc.get_samples(group_by_chain=True), conjugate, DATA)
        assert np.array_equal(idata["posterior"]["mu"].values, mcmc.get_samples()["mu"][None])

    def test_sample_stats(self):
        stats = {"log_weight": np.zeros((2, 5)), "lp": torch.ones(2, 5)}
        draws = {"mu": torch.zeros(2, 5)}
        idata = to_arviz(draws, conjugate, DATA, prior=False, sample_stats=stats)
        assert dict(idata["sample_stats"].sizes) == {"chain": 2, "draw": 5}
        assert float(idata["sample_stats"]["lp"].mean()) == 1.0


class TestLabels:
    def test_coords_label_plates(self):
        months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"]
        idata = to_arviz(exact_guide, conjugate, DATA, num_samples=3, coords={"time": months})
        assert float(idata["observed_data"]["y"].sel(time="Apr")) == DATA[3]
        assert list(idata["log_likelihood"].time.values) == months

    def test_dims_take_the_place_of_plates(self):
        idata = to_arviz(exact_guide, conjugate, DATA, num_samples=3, dims={"y": ["site"]})
        assert idata["observed_data"]["y"].dims == ("site",)
        assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "site")

    def test_attributes_tell_where_it_comes_from(self):
        idata = to_arviz(exact_guide, conjugate, DATA, num_samples=3, seed=5)
        for attrs in (idata.attrs, idata["posterior"].attrs, idata["observed_data"].attrs):
            assert attrs["inference_library"] == "pyro"
            assert attrs["inference_library_version"] == pyro.__version__
            assert attrs["seed"] == 5

    def test_a_seed_reproduces_and_leaves_the_global_state(self):
        before = torch.get_rng_state()
        one, two = (to_arviz(exact_guide, conjugate, DATA, num_samples=3, seed=5) for _ in "ab")
        assert torch.equal(before, torch.get_rng_state())
        for group in groups_of(one):
            xr.testing.assert_equal(one[group], two[group])


class TestArviZ:
    @pytest.fixture
    def idata(self):
        draws = torch.randn(2, 2000) * 7**-0.5 + DATA.sum() / 7
        return to_arviz({"mu": draws}, conjugate, DATA, parallel=True)

    def test_loo_is_the_exact_leave_one_out_density(self, idata):
        n = len(DATA)
        mean, variance = (DATA.sum() - DATA) / n, 1 / n  # of mu, without y_i
        exact = dist.Normal(mean, (1 + variance) ** 0.5).log_prob(DATA)
        loo = az.loo(idata, pointwise=True)
        each = loo.elpd_i if isinstance(idata, xr.DataTree) else loo.loo_i
        assert each.dims == ("time",)
        assert each.values == pytest.approx(exact.numpy(), abs=0.05)

    def test_summary_and_plots(self, idata):
        assert list(az.summary(idata).index) == ["mu"]
        of_0x, of_1x = ("plot_posterior", "plot_ppc"), ("plot_dist", "plot_ppc_dist")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ArviZ's own, about the libraries it calls
            for name in ("plot_trace", *(of_1x if isinstance(idata, xr.DataTree) else of_0x)):
                getattr(az, name)(idata)
        matplotlib.pyplot.close("all")

    def test_netcdf_there_and_back(self, idata, tmp_path):
        path = str(tmp_path / "posterior.nc")
        idata.to_netcdf(path)
        back = az.from_netcdf(path)
        assert groups_of(back) == groups_of(idata)
        for group in groups_of(idata):
            xr.testing.assert_equal(idata[group], back[group])

    def test_a_data_tree_for_arviz_1x(self, tmp_path):
        # ArviZ 1.3 still answers to the old name, with a DataTree and a warning.
        library = SimpleNamespace(from_dict=arviz_base.from_dict, InferenceData=xr.DataTree)
        arrays, dims = gather(
            lambda: exact_guide(DATA),
            lambda: conjugate(DATA),
            num_samples=6,
            parallel=False,
            prior=True,
            sample_stats={},
        )
        tree = assemble(library, arrays, {"time": list("abcdef")}, dims, {"seed": 0})
        assert isinstance(tree, xr.DataTree)
        assert groups_of(tree) == set(arrays)
        assert tree.attrs == {"seed": 0}
        for group, variables in arrays.items():
            assert tree[group].attrs["seed"] == 0
            for name, values in variables.items():
                assert np.array_equal(tree[group][name], values)
        assert tree["log_likelihood"]["y"].dims == ("chain", "draw", "time")
        assert list(tree["observed_data"].time.values) == list("abcdef")
        tree.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
        back = xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf")
        xr.testing.assert_equal(tree, back)


class TestBadInput:
    def test_num_samples(self):
        with pytest.raises(ValueError, match="num_samples must be at least 1, but got 0"):
            to_arviz(exact_guide, conjugate, DATA, num_samples=0)

    def test_neither_guide_nor_mapping(self):
        mcmc = MCMC(NUTS(conjugate), num_samples=1)
        with pytest.raises(TypeError, match=r"posterior must be a guide or a mapping .* got MCMC"):
            to_arviz(mcmc, conjugate, DATA)

    @pytest.mark.parametrize(
        "posterior",
        [{}, {"mu": torch.zeros(10)}, {"mu": torch.zeros(2, 5), "b": torch.zeros(2, 4)}],
        ids=["empty", "no chains", "unequal"],
    )
    def test_draws_without_common_chains_and_draws(self, posterior):
        with pytest.raises(ValueError, match=r"posterior and .* \(chain, draw, \*shape\).* got"):
            to_arviz(posterior, conjugate, DATA)

    def test_sample_stats_of_another_length(self):
        with pytest.raises(ValueError, match=r"sample_stats .* 'lp': \(2, 4\)"):
            to_arviz(
                {"mu": torch.zeros(2, 5)}, conjugate, DATA, sample_stats={"lp": np.zeros((2, 4))}
            )

    def test_sample_stats_of_a_guide(self):
        with pytest.raises(ValueError, match="sample_stats must describe given draws"):
            to_arviz(exact_guide, conjugate, DATA, sample_stats={"lp": np.zeros((1, 1000))})

    def test_draws_of_the_wrong_shape(self):
        with pytest.raises(ValueError, match=r"'mu' .* \(chain, draw\) \+ \(\), .* \+ \(1,\)"):
            to_arviz({"mu": torch.zeros(2, 5, 1)}, conjugate, DATA)

    def test_draws_of_an_unknown_site(self):
        draws = {"mu": torch.zeros(2, 5), "nu": torch.zeros(2, 5)}
        with pytest.raises(ValueError, match=r"draws of \['nu'\], .* model are \['mu'\]"):
            to_arviz(draws, conjugate, DATA)

    def test_draws_of_data(self):
        draws = {"mu": torch.zeros(2, 5), "y": torch.zeros(2, 5, 6)}
        with pytest.raises(ValueError, match=r"draws of \['y'\]"):
            to_arviz(draws, conjugate, DATA)

    def test_missing_draws(self):
        with pytest.raises(ValueError, match="posterior has no draws of the latent site 'mu'"):
            to_arviz(lambda y: None, conjugate, DATA, num_samples=2)

    def test_a_subsampled_plate(self):
        def model(y):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            with pyro.plate("time", len(y), subsample_size=2) as i:
                pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

        with pytest.raises(ValueError, match="plate 'time' around site 'y' is subsampled, 2 of 6"):
            to_arviz(exact_guide, model, DATA, num_samples=2)

    def test_data_without_a_plate(self):
        def model(y):
            pyro.sample("y", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)

        with pytest.raises(ValueError, match=r"'y' observes .* \(6,\), but .* \(\); put it in"):
            to_arviz(exact_guide, model, DATA, num_samples=2)

    def test_an_improper_prior_is_left_out_on_request(self):
        def model(y):
            mu = pyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
            with pyro.plate("time", len(y)):
                pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

        with pytest.raises(ValueError, match=r"prior: .* cannot be drawn from; .* prior=False"):
            to_arviz(exact_guide, model, DATA, num_samples=2)
        idata = to_arviz(exact_guide, model, DATA, num_samples=2, prior=False)
        assert "prior" not in groups_of(idata)

    @pytest.mark.parametrize(
        ("total", "message"),
        [
            (lambda mu: mu.sum(), "'total' comes out differently"),  # sums over draws too
            (lambda mu: mu[0], r"'total' comes with shape \(2,\)"),  # the first draw, not entry
        ],
    )
    def test_a_model_that_is_not_vectorised(self, total, message):
        def model():
            mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.deterministic("total", total(mu))

        draws = {"mu": torch.randn(2, 5, 2)}
        assert "total" in to_arviz(draws, model).posterior
        with pytest.raises(ValueError, match=f"parallel: site {message}.*parallel=False"):
            to_arviz(draws, model, parallel=True)
