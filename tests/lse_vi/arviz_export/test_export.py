"""ArviZ objects: an ArviZ that is content with them, labels, and draws that are given."""

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
from pyro.infer import MCMC, NUTS
from torch.distributions import constraints

import lse_vi
from lse_vi import fit_density, fit_posterior
from lse_vi.arviz_export import export
from lse_vi.arviz_export.export import assemble, gather, to_arviz

matplotlib.use("Agg")


class TestMapping:
    def test_draws_pass_through_in_chains_and_draws(self, hierarchy, draws_of):
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

    def test_loop_and_plate_agree(self, hierarchy, draws_of):
        y = torch.randn(3, 4)
        draws = draws_of(hierarchy, y, sites=["mu", "weights", "shift"])
        loop, plate = (
            to_arviz(draws, hierarchy, y, parallel=parallel, prior=False)
            for parallel in (False, True)
        )
        for group in ("posterior", "log_likelihood"):
            xr.testing.assert_allclose(loop[group], plate[group])

    def test_mcmc(self, data, conjugate):
        mcmc = MCMC(NUTS(conjugate), num_samples=20, warmup_steps=20, disable_progbar=True)
        mcmc.run(data)
        for given in (mcmc, mcmc.get_samples(group_by_chain=True)):
            idata = to_arviz(given, conjugate, data)
            assert np.array_equal(idata["posterior"]["mu"].values, mcmc.get_samples()["mu"][None])

    def test_sample_stats(self, data, conjugate):
        stats = {"log_weight": np.zeros((2, 5)), "lp": torch.ones(2, 5)}
        draws = {"mu": torch.zeros(2, 5)}
        idata = to_arviz(draws, conjugate, data, prior=False, sample_stats=stats)
        assert dict(idata["sample_stats"].sizes) == {"chain": 2, "draw": 5}
        assert float(idata["sample_stats"]["lp"].mean()) == 1.0


class TestLabels:
    def test_coords_label_plates(self, data, conjugate, exact_guide):
        months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"]
        idata = to_arviz(exact_guide, conjugate, data, num_samples=3, coords={"time": months})
        assert float(idata["observed_data"]["y"].sel(time="Apr")) == data[3]
        assert list(idata["log_likelihood"].time.values) == months

    def test_dims_take_the_place_of_plates(self, data, conjugate, exact_guide):
        idata = to_arviz(exact_guide, conjugate, data, num_samples=3, dims={"y": ["site"]})
        assert idata["observed_data"]["y"].dims == ("site",)
        assert idata["log_likelihood"]["y"].dims == ("chain", "draw", "site")

    def test_attributes_tell_where_it_comes_from(self, data, conjugate, exact_guide):
        idata = to_arviz(exact_guide, conjugate, data, num_samples=3, seed=5)
        for attrs in (idata.attrs, idata["posterior"].attrs, idata["observed_data"].attrs):
            assert attrs["inference_library"] == "pyro"
            assert attrs["inference_library_version"] == pyro.__version__
            assert attrs["seed"] == 5

    def test_a_seed_reproduces_and_leaves_the_global_state(
        self, data, conjugate, exact_guide, groups_of
    ):
        before = torch.get_rng_state()
        one, two = (to_arviz(exact_guide, conjugate, data, num_samples=3, seed=5) for _ in "ab")
        assert torch.equal(before, torch.get_rng_state())
        for group in groups_of(one):
            xr.testing.assert_equal(one[group], two[group])


class TestArviZ:
    @pytest.fixture
    def idata(self, data, conjugate):
        draws = torch.randn(2, 2000) * 7**-0.5 + data.sum() / 7
        return to_arviz({"mu": draws}, conjugate, data, parallel=True)

    def test_loo_is_the_exact_leave_one_out_density(self, idata, data):
        n = len(data)
        mean, variance = (data.sum() - data) / n, 1 / n  # of mu, without y_i
        exact = dist.Normal(mean, (1 + variance) ** 0.5).log_prob(data)
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

    def test_netcdf_there_and_back(self, idata, tmp_path, groups_of):
        path = str(tmp_path / "posterior.nc")
        idata.to_netcdf(path)
        back = az.from_netcdf(path)
        assert groups_of(back) == groups_of(idata)
        for group in groups_of(idata):
            xr.testing.assert_equal(idata[group], back[group])

    def test_a_data_tree_for_arviz_1x(self, tmp_path, data, conjugate, exact_guide, groups_of):
        # ArviZ 1.3 still answers to the old name, with a DataTree and a warning.
        library = SimpleNamespace(from_dict=arviz_base.from_dict, InferenceData=xr.DataTree)
        arrays, dims = gather(
            lambda: exact_guide(data),
            lambda: conjugate(data),
            num_samples=6,
            parallel=False,
            prior=True,
            discrete=False,
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
    def test_num_samples(self, data, conjugate, exact_guide):
        with pytest.raises(ValueError, match="num_samples must be at least 1, but got 0"):
            to_arviz(exact_guide, conjugate, data, num_samples=0)

    def test_neither_guide_nor_draws(self, data, conjugate):
        with pytest.raises(TypeError, match=r"posterior must be a guide, .* but got ndarray"):
            to_arviz(np.zeros((2, 5)), conjugate, data)

    def test_an_mcmc_that_has_not_run(self, data, conjugate):
        with pytest.raises(ValueError, match=r"MCMC without draws; call its run"):
            to_arviz(MCMC(NUTS(conjugate), num_samples=1), conjugate, data)

    def test_densities_are_sent_to_their_own_export(self, data, conjugate):
        x = torch.randn(30)
        fit = fit_density(x, modes=1, steps=5, progress=False)
        for given, right in (
            (fit_posterior(x, modes=1, draws=20, steps=5, progress=False), "density_to_arviz"),
            (fit, "fit_posterior"),
            (fit.density, "fit_posterior"),
        ):
            with pytest.raises(TypeError, match=f"got {type(given).__name__}; .*{right}"):
                to_arviz(given, conjugate, data)

    def test_every_name_sent_elsewhere_is_a_type_of_the_library(self):
        assert set(export.ELSEWHERE) <= set(lse_vi.__all__)

    @pytest.mark.parametrize(
        "posterior",
        [{}, {"mu": torch.zeros(10)}, {"mu": torch.zeros(2, 5), "b": torch.zeros(2, 4)}],
        ids=["empty", "no chains", "unequal"],
    )
    def test_draws_without_common_chains_and_draws(self, posterior, data, conjugate):
        with pytest.raises(ValueError, match=r"posterior and .* \(chain, draw, \*shape\).* got"):
            to_arviz(posterior, conjugate, data)

    def test_sample_stats_of_another_length(self, data, conjugate):
        with pytest.raises(ValueError, match=r"sample_stats .* 'lp': \(2, 4\)"):
            to_arviz(
                {"mu": torch.zeros(2, 5)}, conjugate, data, sample_stats={"lp": np.zeros((2, 4))}
            )

    def test_sample_stats_of_a_guide(self, data, conjugate, exact_guide):
        with pytest.raises(ValueError, match="sample_stats must describe given draws"):
            to_arviz(exact_guide, conjugate, data, sample_stats={"lp": np.zeros((1, 1000))})

    def test_an_improper_prior_is_left_out_on_request(self, data, exact_guide, groups_of):
        def model(y):
            mu = pyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
            with pyro.plate("time", len(y)):
                pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

        with pytest.raises(ValueError, match=r"prior: .* cannot be drawn from; .* prior=False"):
            to_arviz(exact_guide, model, data, num_samples=2)
        idata = to_arviz(exact_guide, model, data, num_samples=2, prior=False)
        assert "prior" not in groups_of(idata)

    def test_a_prior_at_which_the_model_cannot_run_is_left_out_on_request(self, groups_of):
        """A correlation above one has no Cholesky factor: a third of the prior."""

        def model(y=None):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            covariance = torch.eye(2) + a * torch.tensor([[0.0, 1.0], [1.0, 0.0]])
            pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), covariance), obs=y)

        draws, y = {"a": torch.zeros(1, 5)}, torch.ones(2)
        with pytest.raises(ValueError, match=r"at some draw of its prior; pass prior=False.*says"):
            to_arviz(draws, model, y, num_samples=50)
        assert "prior" not in groups_of(to_arviz(draws, model, y, prior=False))
