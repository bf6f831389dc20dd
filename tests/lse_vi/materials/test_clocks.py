"""Models that know a clock, and models that do not."""

import torch

from lse_vi.materials.clocks import ArcLength, Time

TIMES, PATHS, STATES = 9, 4, 3


def test_a_model_by_length_knows_no_clock(strains, plain):
    model, strain, times = plain(ArcLength()), strains(PATHS), torch.linspace(0, 1, TIMES)
    torch.testing.assert_close(model(strain, times).stress, model(strain, times**2).stress)
    resting = torch.cat([strain[:, :4], strain[:, 3:]], dim=1)  # a rest is no progress
    torch.testing.assert_close(model(resting).stress[:, 4:], model(strain).stress[:, 3:])


def test_a_model_by_time_knows_one(strains, plain):
    model, strain, times = plain(Time()), strains(PATHS), torch.linspace(0, 1, TIMES)
    slow, fast = model(strain, times).state, model(strain, 0.1 * times).state
    assert (slow - fast).abs().max() > 1e-3
    later = model(strain, times + 7.0).state
    torch.testing.assert_close(slow, later)
