"""A posterior as ArviZ sees it."""

import torch

from lse_vi import density_to_arviz


def test_arviz_dimensions_have_names(fit):
    idata = density_to_arviz(fit)
    posterior = idata["posterior"]
    assert posterior["mass"].dims == ("chain", "draw", "mode")
    assert posterior["slope"].dims == ("chain", "draw", "mode", "layer", "unit")
    assert posterior["density"].dims == ("chain", "draw", "grid")
    assert idata["log_likelihood"]["x"].dims == ("chain", "draw", "point")
    assert idata["posterior_predictive"]["x"].dims == ("chain", "draw", "point", "axis")
    torch.testing.assert_close(
        torch.as_tensor(posterior["mass"].values.sum(-1)), torch.ones(1, 400)
    )
