"""Leapfrog steps keep what they must, whatever the force."""

import torch

from lse_vi.sampling.leapfrog import leapfrog


def force(u):
    return u, torch.sin(3 * u) - u.roll(1, -1)  # no gradient of anything


def test_a_trajectory_can_be_reversed():
    u, p, step = torch.randn(20, 3), torch.randn(20, 3), torch.rand(20, 1)
    end, there = leapfrog(force, u, p, force(u)[1], step, 4)
    back, start = leapfrog(force, end, -there, force(end)[1], step, 4)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(start, -p)


def test_volume_is_kept():
    step = torch.full((1, 1), 0.4)

    def flow(z):
        u, p = z[:3].unsqueeze(0), z[3:].unsqueeze(0)
        return torch.cat(leapfrog(force, u, p, force(u)[1], step, 3), 1)[0]

    jacobian = torch.autograd.functional.jacobian(flow, torch.randn(6))
    torch.testing.assert_close(jacobian.det(), torch.tensor(1.0))


def test_the_error_of_the_energy_falls_with_the_square_of_the_step():
    u, p = torch.randn(50, 2), torch.randn(50, 2)

    def error(leaps):
        step = torch.full((50, 1), 1.0 / leaps)
        end, there = leapfrog(lambda u: (u, -(u**3)), u, p, -(u**3), step, leaps)
        energy = (end**4 / 4 + there**2 / 2 - u**4 / 4 - p**2 / 2).sum(1)
        return float(energy.abs().mean())

    assert 3.5 < error(40) / error(80) < 4.5
