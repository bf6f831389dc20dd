"""A posterior as ArviZ sees it."""

import warnings

import arviz as az
import numpy as np
import pytest
import torch
import xarray as xr

import lse_vi
from lse_vi import density_to_arviz, fit_posterior


@pytest.fixture(scope="module")
def idata(fit):
    torch.set_default_dtype(torch.float64)
    return density_to_arviz(fit)


def test_dimensions_have_names_and_one_coordinate_needs_none(idata):
    posterior = idata["posterior"]
    assert posterior["mass"].dims == ("chain", "draw", "part")
    assert posterior["mean"].dims == ("chain", "draw", "part")
    assert posterior["slope"].dims == ("chain", "draw", "part", "layer", "unit")
    assert posterior["density"].dims == ("chain", "draw", "grid")
    assert idata["log_likelihood"]["x"].dims == ("chain", "draw", "point")
    assert idata["posterior_predictive"]["x"].dims == ("chain", "draw", "point")
    assert idata["observed_data"]["x"].dims == ("point",)
    torch.testing.assert_close(
        torch.as_tensor(posterior["mass"].values.sum(-1)), torch.ones(1, 400)
    )


def test_the_prior_is_there_with_the_units_it_is_in(idata, fit):
    prior = idata["prior"]
    assert prior["mass"].dims == ("chain", "draw", "part")
    assert np.allclose(prior["mass"].sum("part"), 1.0)
    assert float(prior["mean"].std()) > float(idata["posterior"]["mean"].std("draw").max())
    assert idata["prior_predictive"]["x"].dims == ("chain", "draw", "point")
    assert idata["constant_data"]["scale"].values == fit.model.coordinates.scale.numpy()


def test_attributes_tell_where_it_comes_from(idata, fit):
    for attrs in (idata.attrs, idata["posterior"].attrs):
        assert attrs["creation_library_version"] == lse_vi.__version__
        assert attrs["source"] == fit.source
        assert attrs["log_evidence"] == fit.evidence.log_evidence
        assert "k_hat" not in attrs  # there was no guide


def test_arviz_finds_several_modes_without_a_clash_of_names(idata):
    """ArviZ's intervals of several modes have a dimension ``mode`` of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the prior of some values is wide
        if isinstance(idata, xr.DataTree):
            found = az.hdi(idata, var_names=["mean"], method="multimodal")["mean"]
        else:
            found = az.hdi(idata, var_names=["mean"], multimodal=True)["mean"]
    assert found.sizes["part"] == 2


def test_a_file_there_and_back(idata, tmp_path):
    path = str(tmp_path / "posterior.nc")
    idata.to_netcdf(path)
    back = az.from_netcdf(path)
    xr.testing.assert_equal(idata["posterior"], back["posterior"])


def test_several_coordinates_have_an_axis():
    fit = fit_posterior(torch.randn(20, 2), modes=1, draws=30, steps=20, progress=False)
    idata = density_to_arviz(fit)
    assert idata["posterior"]["mean"].dims == ("chain", "draw", "part", "axis")
    assert idata["posterior_predictive"]["x"].dims == ("chain", "draw", "point", "axis")
    assert idata["constant_data"]["scale"].dims == ("axis",)
