"""The units in which a potential is fitted."""

import pytest
import torch

from lse_vi import ICNN, WhitenedICNN
from lse_vi.potentials.scaling import scaling_of
from lse_vi.potentials.targets import as_targets


@pytest.mark.parametrize("network", [ICNN, WhitenedICNN])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_units_there_and_back(random_potential, network, batch):
    """E(x) = offset + height E_std((x - shift) / scale), to rounding, and undone again."""
    pot = random_potential(0, 2, network=network, batch_shape=batch)
    x, y = 5 + 3 * torch.randn(30, *batch, 2), 7 + 40 * torch.randn(30, *batch)
    scaling = scaling_of(as_targets(pot, x, y, None, 1.0, 1.0))
    z = (x - scaling.shift) / scaling.scale
    with torch.no_grad():
        standard = pot(z)
        scaling.restore_(pot)
        torch.testing.assert_close(pot(x), scaling.offset + scaling.height * standard)
        scaling.apply_(pot)
        torch.testing.assert_close(pot(z), standard)


def test_scaled_energy_is_scaled(random_potential):
    for network in (ICNN, WhitenedICNN):
        pot, x = random_potential(1, 2, network=network), torch.randn(20, 2)
        with torch.no_grad():
            before, shares = pot(x), pot.responsibilities(x)
            pot.scale_energy_(torch.tensor(0.03))
            torch.testing.assert_close(pot(x), 0.03 * before)
            torch.testing.assert_close(pot.responsibilities(x), shares)
