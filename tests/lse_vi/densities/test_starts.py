"""A start is the Gaussian mixture that EM has found, whatever the units of the network."""

import pytest
import torch
from sklearn.mixture import GaussianMixture

from lse_vi import LSEICNN, LSEDensity, MomentMixture, WhitenedICNN, fit_density
from lse_vi.densities.starts import start_on_mixture

AS_IT_STARTS = {"polish": 0, "steps": 0, "held_out": 0.0, "progress": False}


@pytest.mark.parametrize("dim", [1, 2, 5, 10])
def test_modes_start_with_the_mean_and_covariance_of_their_component(dim):
    torch.manual_seed(dim)
    turned = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0]
    x = torch.randn(3000, 1, dim, dtype=torch.float64) * torch.linspace(0.5, 2.0, dim) @ turned
    pot = LSEICNN(dim, 1, batch_shape=(1,), rho=1.0, network=WhitenedICNN, dtype=torch.float64)
    start_on_mixture(pot, x, 0, restarts=1)
    draws = LSEDensity(pot.select(0), method=MomentMixture(4096)).sample((100_000,))
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.atleast_2d(x[:, 0].T.cov())),
        (draws - x[:, 0].mean(0)).T,
        upper=False,
    )
    assert white.mean(1).abs().max() < 0.02  # six standard errors
    gap = white.cov() - torch.eye(dim, dtype=torch.float64)
    assert gap.abs().max() < 0.03  # six again, and the least variance that EM adds


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [2, 5, 10])
def test_a_start_explains_new_points_as_its_mixture_does(dim, seed):
    """Before, the units of the modes cost 0.011 nats per point in five dimensions, 0.022 in ten."""
    torch.manual_seed(seed)
    means = 4 * torch.randn(3, dim, dtype=torch.float64)
    label = torch.randint(3, (12_000,))
    points = means[label] + torch.randn(12_000, dim, dtype=torch.float64)
    x, new = points[:2000], points[2000:]
    mixture = GaussianMixture(3, n_init=4, random_state=0).fit(x.numpy()).score(new.numpy())
    start = fit_density(x, modes=3, seed=seed, mode_penalty=0.0, **AS_IT_STARTS)
    with torch.no_grad():
        ours = float(start.density.log_prob(new).mean())
    assert ours == pytest.approx(mixture, abs=0.004)
