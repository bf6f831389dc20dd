"""Two modes made one: which, where the new one stands, and the number of modes that it leaves."""

import numpy as np
import pytest
import torch

from lse_vi import ICNN, LSEICNN, WhitenedICNN, fit_density
from lse_vi.densities.merging import merge_closest
from lse_vi.fitting.mode_search import ModeSearch


def groups(n, *centres):
    return torch.cat([torch.randn(n, 2) + torch.tensor(centre) for centre in centres])


def standing_at(*centres, network=WhitenedICNN):
    """A mode of unit width at each centre."""
    pot = LSEICNN(2, len(centres), rho=1.0, network=network)
    pot.network.reset_parameters(torch.tensor(centres), torch.eye(2).expand(len(centres), 2, 2))
    return pot


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_the_two_that_share_points_become_one(network):
    """Of three modes the second stands far away: it stays as it is, and in its place."""
    torch.manual_seed(0)
    far = (40.0, 0.0)
    x = groups(500, (0.0, 0.0), far, (1.0, 0.5))
    pot = standing_at((0.0, 0.0), far, (1.0, 0.5), network=network)
    fewer = merge_closest(pot, x)
    assert fewer.modes == 2
    torch.testing.assert_close(fewer.gates, pot.gates[:2])
    # prune keeps E, an average over the modes: log(3/2) goes into each of them
    kept = fewer.mode_potentials(x)[:, 1] - pot.mode_potentials(x)[:, 1]
    torch.testing.assert_close(kept, torch.full_like(kept, np.log(1.5)))


def test_the_new_mode_covers_the_points_of_both():
    torch.manual_seed(0)
    x = groups(2000, (0.0, 0.0), (3.0, 0.0), (40.0, 0.0))
    pot = standing_at((0.0, 0.0), (3.0, 0.0), (40.0, 0.0))
    fewer = merge_closest(pot, x)
    both = x[:4000]
    covariance = torch.linalg.inv(fewer.network.precision_factor()[0])
    torch.testing.assert_close(fewer.network.loc[0], both.mean(0), rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance @ covariance.mT, both.T.cov(), rtol=0, atol=1e-2)


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
def test_the_new_mode_is_as_high_as_the_two_were(network):
    """On average over the points, so that a third mode's share of them stays what it was."""
    torch.manual_seed(0)
    x = groups(500, (0.0, 0.0), (1.0, 0.0), (40.0, 0.0))
    pot = standing_at((0.0, 0.0), (1.0, 0.0), (40.0, 0.0), network=network)
    fewer = merge_closest(pot, x)
    both = x[:1000]
    torch.testing.assert_close(fewer(both).mean(), pot(both).mean(), rtol=0, atol=1e-3)


def test_every_potential_of_a_batch_has_its_own_pair():
    torch.manual_seed(0)
    centres = torch.tensor(
        [[[0.0, 0.0], [0.5, 0.0], [30.0, 0.0]], [[0.0, 0.0], [30.0, 0.0], [30.5, 0.0]]]
    )
    pot = LSEICNN(2, 3, batch_shape=(2,), rho=1.0, network=WhitenedICNN)
    pot.network.reset_parameters(centres, torch.eye(2).expand(2, 3, 2, 2))
    x = (centres.unsqueeze(0) + torch.randn(300, 2, 3, 2)).movedim(2, 1).reshape(900, 2, 2)
    loc = merge_closest(pot, x).network.loc
    expected = torch.tensor([[[0.25, 0.0], [30.0, 0.0]], [[0.0, 0.0], [30.25, 0.0]]])
    torch.testing.assert_close(loc, expected, rtol=0, atol=0.2)


@pytest.mark.slow
def test_going_down_reaches_what_two_modes_from_their_own_start_do_not(monkeypatch):
    """Exponential laws back to back, whose walls a third and a fourth mode mend at first.

    Two modes from their own start end some 220 nats below the law, and without mergers the fits
    keep three or four. From the best of more modes mergers lead to two that are above all others
    by 5 nats. Data moved by a billionth or a millionth of their spread change no count: these two
    moves did, when a fit of two modes that was not finished was compared with one of three.
    """
    rng = np.random.default_rng(2)
    label, size = rng.integers(0, 2, 11_000), rng.exponential(size=11_000)
    x = np.where(label, 3.0 + size, -size)
    moved = {
        1e-9: x[:1000].std() * np.random.default_rng(5).standard_normal(1000),
        1e-6: x[:1000].std() * np.random.default_rng(2).standard_normal(1000),
    }
    gains = []

    def watched(search, candidate):
        if candidate.modes == 2:
            gains.append(float(candidate.expected - search.done[1].expected))
        return improve(search, candidate)

    improve = ModeSearch.improve
    monkeypatch.setattr(ModeSearch, "improve", watched)
    log_likelihoods = []
    for step in (0.0, *(scale * noise for scale, noise in moved.items())):
        gains.clear()
        fit = fit_density(x[:1000] + step, progress=False)
        assert max(gains, default=0.0) > 100
        assert int(fit.active_modes) == 2
        with torch.no_grad():
            log_likelihoods.append(
                float(fit.density.log_prob(torch.as_tensor(x[1000:, None])).mean())
            )
    assert np.ptp(log_likelihoods) < 0.005
    law = np.log(0.5) - size[1000:].mean()
    assert law - np.mean(log_likelihoods) < 0.05
