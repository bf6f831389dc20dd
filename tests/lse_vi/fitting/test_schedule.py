"""One-cycle schedules of any number of steps."""

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from lse_vi.fitting.schedule import warm_up


@pytest.mark.parametrize(("share", "steps"), [(0.1, 10), (0.2, 5), (0.1, 1), (0.1, 11), (0.5, 2)])
def test_rates_are_positive_and_end_low(share, steps):
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    schedule = OneCycleLR(optimiser, 1.0, total_steps=steps, pct_start=warm_up(share, steps))
    rates = []
    for _ in range(steps):
        rates += schedule.get_last_lr()
        optimiser.step()
        if len(rates) < steps:
            schedule.step()
    assert all(0 < rate <= 1 for rate in rates)
    if share * steps == 1:
        assert rates[0] == pytest.approx(1.0)
        assert rates == sorted(rates, reverse=True)
